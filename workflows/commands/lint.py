"""The command ``lint``."""

from dataclasses import asdict

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
    from jobs.runtime.provenance import revision
    from workflows.lint.check import check
    from workflows.manifest.dag import manifest
    from workflows.manifest.spec import RunSpec

    resolved = resolve(experiment, data, folds, settings, smoke=smoke)
    spec = RunSpec.of(resolved, profile_or_default(profile), revision=revision(), run=run)
    findings = check(spec, manifest(spec))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            typer.echo(finding.text())
        typer.echo(f"{len(findings)} findings" if findings else "no findings", err=True)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(BadInput.exit)
