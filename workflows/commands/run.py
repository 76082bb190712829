"""The command ``run``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workflows.commands._options import (
    DataSource,
    FoldList,
    FromRun,
    Gpus,
    Jobs,
    MaxGpuHours,
    Overlap,
    PredictSource,
    ProfileName,
    Replace,
    RunName,
    Settings,
    Smoke,
    confirm_replacement,
    profile_or_default,
    recipe_names,
    resolve,
    test_set,
)  # fmt: skip
from workflows.commands._output import console

if TYPE_CHECKING:
    from jobs.contract.experiment import Experiment
    from workflows.manifest.spec import TestSet

GivenExperiment = Annotated[
    str | None,
    typer.Option(
        "--experiment",
        "-e",
        help="name of a recipe, or a YAML file; default: demo, or the experiment of the --from run",
        autocompletion=recipe_names,
    ),
]


def run(
    experiment: GivenExperiment = None,
    data: DataSource = None,
    folds: FoldList = None,
    settings: Settings = None,
    run: RunName = None,
    smoke: Smoke = False,
    profile: ProfileName = "local",
    jobs: Jobs = None,
    gpus: Gpus = None,
    predict: PredictSource = None,
    from_run: FromRun = None,
    overlap: Overlap = None,
    replace: Replace = False,
    max_gpu_hours: MaxGpuHours = None,
) -> None:
    """Run an experiment on this machine, with processes instead of pods.

    Ctrl-C stops the run after a checkpoint. The same command continues a stopped or failed run. Without CXRFOLD_STORE
    and AWS_ENDPOINT_URL_S3, an embedded S3 server stores everything under ~/.cache/cxrfold.
    """
    from jobs.runtime.provenance import revision
    from workflows.local.execute import execute, finished_otherwise
    from workflows.local.machine import this_machine
    from workflows.manifest.spec import RunSpec

    test = test_set(predict, from_run, overlap)
    resolved = experiment_to_run(experiment, test, data, folds, settings, smoke=smoke)
    spec = RunSpec.of(
        resolved, profile_or_default(profile), revision=revision(), run=run, test_set=test, max_gpu_hours=max_gpu_hours
    )
    if run and not replace and (taken := finished_otherwise(spec)):
        confirm_replacement(taken)
    raise typer.Exit(execute(spec, this_machine(jobs, gpus), console()))


def experiment_to_run(
    experiment: str | None, test: "TestSet | None", data: str | None, folds: str | None, settings: list[str] | None, *,
    smoke: bool,
) -> "Experiment":  # fmt: skip
    """Load the experiment that the options select; where none is named, that of the run whose weights predict."""
    if test is not None and experiment is None:
        return _experiment_of(test.from_run, folds, settings)
    return resolve(experiment or "demo", data, folds, settings, smoke=smoke)


def _experiment_of(run: str, folds: str | None, settings: list[str] | None) -> "Experiment":
    """Load the experiment of an earlier run and apply the overrides."""
    from tempfile import TemporaryDirectory

    from workflows.runs.stored import experiment_file
    from workflows.store.opening import local_store, open_store

    with local_store(), TemporaryDirectory() as folder:
        return resolve(str(experiment_file(open_store(), run, Path(folder))), None, folds, settings, smoke=False)
