"""The command ``lint``."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from jobs.contract.exits import BadInput
from workflows.commands._options import (
    AsJson,
    DataSource,
    ExperimentName,
    FoldList,
    ProfileName,
    RunName,
    Settings,
    Smoke,
    profile_or_default,
    resolve,
)  # fmt: skip
from workflows.commands._output import print_json

if TYPE_CHECKING:
    from workflows.lint.findings import Finding


def lint(
    experiment: ExperimentName = "demo",
    data: DataSource = None,
    folds: FoldList = None,
    settings: Settings = None,
    run: RunName = None,
    smoke: Smoke = False,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Check an experiment and its manifest for mistakes before submitting."""
    from workflows.lint.findings import Finding

    try:
        findings = _findings(experiment, data, folds, settings, run, smoke=smoke, profile=profile)
    except BadInput as error:  # settings that cannot be read are findings for a program, too
        if not as_json:
            raise
        findings = [Finding("CXR000", "error", "options", str(error), "correct what the message names")]
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            typer.echo(finding.text())
        typer.echo(f"{len(findings) or 'no'} finding{'' if len(findings) == 1 else 's'}", err=True)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(BadInput.exit)


def _findings(
    experiment: str, data: str | None, folds: str | None, settings: list[str] | None, run: str | None, *,
    smoke: bool, profile: str | None,
) -> "list[Finding]":  # fmt: skip
    from jobs.runtime.provenance import revision
    from workflows.lint.check import check
    from workflows.manifest.dag import manifest
    from workflows.manifest.spec import RunSpec

    resolved = resolve(experiment, data, folds, settings, smoke=smoke)
    spec = RunSpec.of(resolved, profile_or_default(profile), revision=revision(), run=run)
    return check(spec, manifest(spec))
