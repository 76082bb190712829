"""All rules applied to what was ordered and to the manifest that was built from it."""

from typing import Any

from workflows.lint.experiment import check_experiment, check_profile
from workflows.lint.findings import RULES, Finding, Level
from workflows.lint.manifest import check_manifest
from workflows.manifest.spec import RunSpec


def check(spec: RunSpec, manifest: dict[str, Any]) -> list[Finding]:
    """All mistakes of an order and its manifest, worst first.

    Args:
        spec: what was ordered.
        manifest: the workflow as plain values, as ``workflows.manifest.dag.manifest`` gives it or a file holds it.
    """
    found = [*check_manifest(manifest), *check_experiment(spec.experiment), *check_profile(spec.profile)]
    order: list[Level] = ["error", "warning", "note"]
    findings = [Finding(code, where, says, RULES[code].fix, RULES[code].level) for code, where, says in found]
    return sorted(dict.fromkeys(findings), key=lambda one: (order.index(one.level), one.code))
