"""Apply every rule to a run's specification and to the manifest built from it."""

from typing import Any, Final

from workflows.lint import experiment, manifest, objects, order, profile, templates
from workflows.lint.findings import Finding, Level, Rule
from workflows.manifest.spec import Manifest, RunSpec

RULES: Final[tuple[Rule[Any], ...]] = (
    *objects.rule, *manifest.rule, *templates.container_rule, *templates.dag_rule, *experiment.rule, *profile.rule,
    *order.rule,
)  # fmt: skip
SEVERITY: Final[tuple[Level, ...]] = ("error", "warning", "note")


def check(spec: RunSpec, workflow: Manifest) -> list[Finding]:
    """Return all findings, the most severe first.

    Args:
        spec: the run's specification, whose experiment and profile are checked.
        workflow: its manifest, a Workflow as a plain dict.
    """
    findings: list[Finding] = []
    for item in (objects.workflow_object(workflow), *objects.profile_objects(spec.profile)):
        findings += objects.rule.findings(item)
    findings += manifest.rule.findings(workflow)
    for container in templates.containers(workflow):
        findings += templates.container_rule.findings(container)
    for dag in templates.dags(workflow):
        findings += templates.dag_rule.findings(dag)
    findings += experiment.rule.findings(spec.experiment)
    findings += profile.rule.findings(spec.profile)
    findings += order.rule.findings(spec)
    return sorted(dict.fromkeys(findings), key=lambda finding: (SEVERITY.index(finding.level), finding.code))
