"""The command ``render``."""

from typing import Annotated

import typer

from jobs.contract.exits import BadInput
from workflows.commands._options import (
    DataSource,
    ExperimentName,
    FoldList,
    FromRun,
    PredictSource,
    ProfileName,
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
    profile: ProfileName = None,
    predict: PredictSource = None,
    from_run: FromRun = None,
    only: Annotated[str | None, typer.Option(help="experiment or manifest; default: both")] = None,
) -> None:
    """Print the resolved experiment and the manifest of its workflow."""
    from jobs.runtime.provenance import revision
    from workflows.manifest.dag import manifest, to_yaml
    from workflows.manifest.spec import RunSpec

    if only not in (None, "experiment", "manifest"):
        raise BadInput(f"--only {only}: write experiment or manifest")
    spec = RunSpec.of(
        resolve(experiment, data, folds, settings, smoke=smoke), profile_or_default(profile), revision=revision(),
        run=run, test_set=test_set(predict, from_run),
    )  # fmt: skip
    texts = {"experiment": to_yaml(spec.experiment.model_dump(mode="json")), "manifest": to_yaml(manifest(spec))}
    typer.echo(texts[only] if only else "---\n".join(texts.values()), nl=False)
