"""Collect a study's runs from the store: scores, time and memory, or why a run has no score."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobs.contract.exits import BadInput, Damaged
from jobs.contract.stored import layout
from workflows.runs.stored import status
from workflows.study.author import author_score
from workflows.study.selection import StudyExperiment

if TYPE_CHECKING:
    from jobs.runtime.store import Store
    from workflows.board.rows import Row


@dataclass(frozen=True)
class LogRow:
    """A row of the log: one fold of an experiment. Unknown values are None.

    Attributes:
        fold: number of the held-out fold.
        score: the headline figure on this fold alone.
        outlying: whether the score differs from the other folds by more than the choice of patients explains.
        overfitting: training minus validation score of each model, at the epoch whose weights are used.
        worth: inference option (``size`` or ``tta``) → what it adds to the score, one number per model that uses it.
        seconds: training time, summed over the models.
        device: the devices that it trained on.
        memory: peak resident memory in bytes.
        gpu_memory: peak GPU memory in bytes.
        author: the score in the author's log, if it is of the same figure.
        why: why there is no score; empty if there is one.
    """

    fold: int
    score: float | None = None
    outlying: bool | None = None
    overfitting: tuple[float, ...] = ()
    worth: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    seconds: float | None = None
    device: str = ""
    memory: int | None = None
    gpu_memory: int | None = None
    author: float | None = None
    why: str = ""


@dataclass(frozen=True)
class LogEntry:
    """An experiment of the study with its results.

    Attributes:
        studied: the experiment.
        folds: one row per selected fold, failed ones included.
        figure: name of the headline figure; empty without a score.
        score: the figure of the pooled out-of-fold predictions.
        low: lower end of the score's 95 % interval over patients.
        high: upper end.
        engine: the implementation that computed the score.
        dataset: hash of the dataset.
        revision: git revision of the code.
        missing_folds: selected folds that are not part of the score.
    """

    studied: StudyExperiment
    folds: tuple[LogRow, ...]
    figure: str = ""
    score: float | None = None
    low: float | None = None
    high: float | None = None
    engine: str = ""
    dataset: str = ""
    revision: str = ""
    missing_folds: tuple[int, ...] = ()

    @property
    def run(self) -> str:
        """Name of the run."""
        return self.studied.run

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self.studied.experiment.name

    @property
    def device_seconds(self) -> float | None:
        """Training time of all folds together."""
        known = [fold.seconds for fold in self.folds if fold.seconds is not None]
        return sum(known) if known else None


def collect(store: "Store", studied: StudyExperiment, failure: str = "") -> LogEntry:
    """Collect an experiment's run from the store.

    Args:
        store: where the run is.
        studied: the experiment.
        failure: how the run failed on this machine, shown if the store has no reason.
    """
    from jobs.runtime.store import Missing

    try:
        return _scored(studied, store.get_json(layout.report(studied.run, "metrics.json")))
    except (Missing, Damaged):
        return _unscored(store, studied, failure)


def _scored(studied: StudyExperiment, metrics: Mapping[str, Any]) -> LogEntry:
    figure = metrics["headline"]["figure"]
    pooled = metrics["figures"][figure]
    interval = pooled["interval"] or {}
    return LogEntry(
        studied=studied,
        folds=tuple(_fold(studied, metrics, fold) for fold in studied.experiment.folds.selected),
        figure=figure,
        score=pooled["score"],
        low=interval.get("low"),
        high=interval.get("high"),
        engine=metrics["engine"],
        dataset=metrics["data"]["dataset"],
        revision=metrics["provenance"]["revision"],
        missing_folds=tuple(metrics["missing_folds"]),
    )


def _fold(studied: StudyExperiment, metrics: Mapping[str, Any], number: int) -> LogRow:
    scored = next((fold for fold in metrics["per_fold"] if fold["fold"] == number), None)
    if scored is None:
        return LogRow(number, why="lost: the run went on without this fold")
    tasks = [task for task in metrics["tasks"] if task["fold"] == number]
    theirs = author_score(studied.experiment.name, number)
    return LogRow(
        fold=number,
        score=scored["score"],
        outlying=scored["outlying"],
        overfitting=tuple(gap for task in tasks if (gap := _gap(studied, task)) is not None),
        worth={
            option: tuple(task["worth"][option] for task in tasks if option in task["worth"])
            for option in sorted({option for task in tasks for option in task["worth"]})
        },
        seconds=sum(task["seconds"] for task in tasks),
        device=", ".join(sorted({task["device"] for task in tasks})),
        memory=max(task["peak_memory"] for task in tasks),
        gpu_memory=max(task["peak_gpu_memory"] for task in tasks),
        author=theirs.value if theirs and theirs.figure == metrics["headline"]["figure"] else None,
    )


def _gap(studied: StudyExperiment, task: Mapping[str, Any]) -> float | None:
    """Training minus validation score at the epoch whose weights are used."""
    experiment = studied.experiment
    model = experiment.classifiers.get(task["model"]) or experiment.detectors[task["model"]]
    epoch = task.get(model.inference.select) or {}
    train, validation = epoch.get("train_score"), epoch.get("val_score")
    return None if train is None or validation is None else train - validation


def _unscored(store: "Store", studied: StudyExperiment, failure: str) -> LogEntry:
    try:
        rows = status(store, studied.run)
    except BadInput:
        rows = []
    folds = studied.experiment.folds.selected
    return LogEntry(studied, tuple(LogRow(fold, why=_why(rows, fold, failure)) for fold in folds))


def _why(rows: list["Row"], fold: int, failure: str) -> str:
    """Why a fold has no score: from its own tasks, else from the tasks of the whole run."""
    of_fold = [row for row in rows if row.task.endswith(f"-fold-{fold}")]
    of_run = [row for row in rows if "-fold-" not in row.task]
    for row in [*of_fold, *of_run, *rows]:
        if row.state in ("failed", "stopped"):
            return f"{row.task} {row.state}" + (f": {row.note.rstrip('.')}" if row.note else "")
    if failure:
        return failure
    unfinished = next((row for row in [*of_fold, *of_run] if row.state != "succeeded"), None)
    return f"unfinished: {unfinished.task} is {unfinished.state}" if unfinished else "has not run"
