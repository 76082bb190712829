"""Apply every rule to a run's specification and to the manifest built from it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from jobs.contract.exits import BadInput
from workflows.lint import experiment, manifest, objects, order, profile, templates
from workflows.lint.findings import Finding, Level, Rule
from workflows.manifest.spec import Manifest, RunSpec

RULES: Final[tuple[Rule[Any], ...]] = (
    *objects.rule, *manifest.rule, *templates.container_rule, *templates.dag_rule, *experiment.rule, *profile.rule,
    *order.rule,
)  # fmt: skip
SEVERITY: Final[tuple[Level, ...]] = ("error", "warning", "note")


def check(spec: RunSpec, workflow: Manifest) -> list[Finding]:
    """Return all findings of a run on a cluster, the most severe first.

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
    findings += profile.rule.findings(spec.profile)
    return _sorted([*findings, *check_here(spec)])


def check_here(spec: RunSpec) -> list[Finding]:
    """Return the findings that do not depend on a cluster, the most severe first."""
    return _sorted([*experiment.rule.findings(spec.experiment), *order.rule.findings(spec)])


def refuse_errors(findings: Sequence[Finding], say: Callable[[str], None], done: str) -> None:
    """Say warnings and errors.

    Args:
        findings: of a check.
        say: called with the two lines of a finding.
        done: what does not happen in case of an error, e.g. ``submitted``.

    Raises:
        BadInput: there is an error.
    """
    for finding in findings:
        if finding.level != "note":
            say(finding.text())
    if errors := sum(finding.level == "error" for finding in findings):
        raise BadInput(f"Nothing was {done}: {errors} error{'s' if errors > 1 else ''} above.")


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(dict.fromkeys(findings), key=lambda finding: (SEVERITY.index(finding.level), finding.code))
