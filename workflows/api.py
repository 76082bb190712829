"""The functions behind ``run``, ``submit``, ``status`` and ``results``, to import in a notebook or a program.

Arguments are those of the commands; names, settings and errors are too. ``api.md`` shows them at work.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jobs.contract.exits import BadInput, Exit, StageError
from workflows.commands._options import profile_of, profile_or_default, resolve, test_set

if TYPE_CHECKING:
    from workflows.board.rows import Row
    from workflows.runs.create import CreatedWorkflow

OWN_FILES = ("metrics.json", "report.html", "card.md", "labels.html", "labels.csv", "quality.html", "submission.csv")


class RunFailed(StageError):
    """The run has failed or was stopped; ``exit`` is its exit code."""

    def __init__(self, run: str, code: Exit) -> None:
        self.exit = code
        super().__init__(f"Run {run} ended with exit code {code}: its output above says why.")


@dataclass(frozen=True)
class Status:
    """The state of a run.

    Attributes:
        run: its name.
        phase: Argo's phase of its workflow; None where no cluster executes it.
        notes: what concerns the run as a whole.
        tasks: a row per task, in the order of the workflow.
    """

    run: str
    phase: str | None
    notes: tuple[str, ...]
    tasks: "tuple[Row, ...]"


@dataclass(frozen=True)
class RunResults:
    """The results of a finished run.

    Attributes:
        run: its name.
        files: its own files in a local folder, by name.
        metrics: the content of metrics.json; empty for a test set without labels.
    """

    run: str
    files: dict[str, Path]
    metrics: dict[str, Any]

    @property
    def figure(self) -> str | None:
        """Name of the headline figure; None where nothing was scored."""
        return self.metrics["headline"]["figure"] if self.metrics else None

    @property
    def score(self) -> float | None:
        """The headline score; None where nothing was scored."""
        return self.metrics["headline"]["score"] if self.metrics else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The headline's 95 % interval over patients; None where there is none."""
        around = self.metrics["figures"][self.figure]["interval"] if self.metrics else None
        return (around["low"], around["high"]) if around else None


def run(
    experiment: str | None = None,
    *,
    data: str | None = None,
    folds: Sequence[int] | None = None,
    settings: Sequence[str] = (),
    name: str | None = None,
    smoke: bool = False,
    predict: str | None = None,
    from_run: str | None = None,
    overlap: Literal["refuse", "drop"] | None = None,
    jobs: int | None = None,
    gpus: str | None = None,
    replace: bool = False,
    quiet: bool = False,
) -> RunResults:
    """Run an experiment on this machine and return its results; finished tasks are not repeated.

    Args:
        experiment: a recipe or a YAML file; demo, or the experiment of ``from_run``, where not given.
        data: ``s3://bucket/prefix``, a folder, or ``phantom:patients=N,seed=S``.
        folds: the folds to train; all where not given.
        settings: overrides as of ``--set``, e.g. ``classifiers.*.size=256``.
        name: the run's name; the experiment's and its hash where not given.
        smoke: reduce films, sizes and epochs to a quick test of every stage.
        predict: a test set to predict with the weights of ``from_run``, in place of training.
        from_run: a finished run.
        overlap: what becomes of labelled films that it was trained on: ``refuse`` or ``drop`` from the scores.
        jobs: number of parallel processes.
        gpus: GPUs to use, e.g. ``0,1``, or ``none``.
        replace: whether the run may take the name of an ended run of another experiment.
        quiet: show no board.

    Raises:
        BadInput: an argument is not valid, or the name is taken.
        RunFailed: the run failed, or was interrupted.
    """
    from rich.console import Console

    from jobs.runtime.provenance import revision
    from workflows.commands.run import experiment_to_run
    from workflows.local.execute import DELIVERED, RUNS, execute, finished_otherwise
    from workflows.local.machine import this_machine
    from workflows.manifest.spec import RunSpec

    test = test_set(predict, from_run, overlap)
    resolved = experiment_to_run(experiment, test, data, _text(folds), list(settings), smoke=smoke)
    spec = RunSpec.of(resolved, profile_or_default("local"), revision=revision(), run=name, test_set=test)
    if name and not replace and (taken := finished_otherwise(spec)):
        raise BadInput(f"{taken} Choose another name, or give replace=True.")
    code = execute(spec, this_machine(jobs, gpus), Console(quiet=quiet))
    if code not in DELIVERED:
        raise RunFailed(spec.run, code)
    folder = RUNS / spec.run
    return _results(spec.run, [folder / file for file in OWN_FILES if (folder / file).is_file()])


def submit(
    experiment: str = "demo",
    *,
    data: str | None = None,
    folds: Sequence[int] | None = None,
    settings: Sequence[str] = (),
    name: str | None = None,
    smoke: bool = False,
    profile: str | None = "cluster",
    predict: str | None = None,
    from_run: str | None = None,
    overlap: Literal["refuse", "drop"] | None = None,
    revision: str | None = None,
    replace: bool = False,
) -> "CreatedWorkflow":
    """Submit an experiment to a cluster after checking both; the same arguments continue the same run.

    Args:
        experiment: a recipe or a YAML file.
        data: ``s3://bucket/prefix``, a folder, or ``phantom:patients=N,seed=S``.
        folds: the folds to train; all where not given.
        settings: overrides as of ``--set``.
        name: the run's name; the experiment's and its hash where not given.
        smoke: reduce films, sizes and epochs to a quick test of every stage.
        profile: a profile's name, a YAML file, or ``cluster`` for the one that the chart wrote there.
        predict: a test set to predict with the weights of ``from_run``, in place of training.
        from_run: a finished run.
        overlap: what becomes of labelled films that it was trained on: ``refuse`` or ``drop`` from the scores.
        revision: of the images; this checkout's where not given.
        replace: whether the run may take the name of an ended run of another experiment.

    Raises:
        BadInput: lint finds errors, the cluster is not ready, or the run's name is taken.
        ServiceAway: the cluster does not answer.
    """
    from jobs.runtime.provenance import revision as this_revision
    from workflows.commands.submit import create_run
    from workflows.manifest.spec import RunSpec

    spec: RunSpec = RunSpec.of(
        resolve(experiment, data, _text(folds), list(settings), smoke=smoke), profile_or_default(profile),
        revision=revision or this_revision(), run=name, test_set=test_set(predict, from_run, overlap),
    )  # fmt: skip

    def refuse(taken: str) -> None:
        if not replace:
            raise BadInput(f"{taken} Nothing was submitted: choose another name, or give replace=True.")

    return create_run(spec, refuse)


def status(name: str | None = None, *, profile: str | None = None) -> Status:
    """Return the state of a run, wherever it is.

    Args:
        name: the run's name; the newest on the cluster where not given.
        profile: the cluster and store to look in.

    Raises:
        BadInput: the run does not exist.
        ServiceAway: the cluster or store does not answer.
    """
    from workflows.runs.finding.find import find_run

    with find_run(name, profile_of(profile)) as found:
        return Status(found.name, found.phase, tuple(found.notes), tuple(found.status()))


def results(name: str, *, profile: str | None = None, to: Path | None = None) -> RunResults:
    """Download a finished run's own files and return them with its scores.

    Args:
        name: the run's name.
        profile: the cluster and store to look in.
        to: the folder; ``runs/<name>`` where not given.

    Raises:
        BadInput: the run does not exist, or has no results yet.
    """
    from jobs.contract.stored import layout
    from jobs.runtime.store import Missing
    from workflows.runs.finding.find import find_run

    files = []
    with find_run(name, profile_of(profile)) as found:
        folder = to or Path("runs") / found.name
        _ = found.experiment  # says where the run does not exist
        for file in OWN_FILES:
            try:
                files.append(found.store.download(layout.report(found.name, file), folder / file))
            except Missing:
                continue
    if not {"metrics.json", "submission.csv"} & {file.name for file in files}:
        raise BadInput(f"Run {name} has no results yet: cv.py status {name}.")
    return _results(name, files)


def _results(name: str, files: Sequence[Path]) -> RunResults:
    by_name = {file.name: file for file in files}
    metrics = json.loads(by_name["metrics.json"].read_text()) if "metrics.json" in by_name else {}
    return RunResults(name, by_name, metrics)


def _text(folds: Sequence[int] | None) -> str | None:
    return None if folds is None else ",".join(map(str, folds))
