"""The command ``render``."""

from typing import Annotated, Literal

import typer

from workflows.commands._options import (
    ClusterProfile,
    DataSource,
    ExperimentName,
    FoldList,
    FromRun,
    Overlap,
    PredictSource,
    Revision,
    RunName,
    Settings,
    Smoke,
    profile_or_default,
    resolve,
    test_set,
)  # fmt: skip


def render(
    experiment: ExperimentName = "demo",
    data: DataSource = None,
    folds: FoldList = None,
    settings: Settings = None,
    run: RunName = None,
    smoke: Smoke = False,
    profile: ClusterProfile = None,
    predict: PredictSource = None,
    from_run: FromRun = None,
    overlap: Overlap = None,
    revision: Revision = None,
    only: Annotated[Literal["manifest", "experiment"], typer.Option(help="what to print")] = "manifest",
) -> None:
    """Print the manifest of an experiment's workflow, or the resolved experiment itself."""
    from jobs.runtime.provenance import revision as this_revision
    from workflows.manifest.dag import manifest, to_yaml
    from workflows.manifest.spec import RunSpec

    spec = RunSpec.of(
        resolve(experiment, data, folds, settings, smoke=smoke), profile_or_default(profile),
        revision=revision or this_revision(), run=run, test_set=test_set(predict, from_run, overlap),
    )  # fmt: skip
    printed = manifest(spec) if only == "manifest" else spec.experiment.model_dump(mode="json")
    typer.echo(to_yaml(printed), nl=False)
