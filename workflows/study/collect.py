"""What the store knows of a study's runs: scores and what they took, or why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobs.contract import layout
from jobs.contract.exits import BadInput
from workflows.runs.stored import status
from workflows.study.author import Score, author_score
from workflows.study.selection import Studied

if TYPE_CHECKING:
    from jobs.runtime.store import Store
    from workflows.board.rows import Row


@dataclass(frozen=True)
class Fold:
    """One fold of an experiment. What is not known is None.

    Attributes:
        fold: its number.
        score: the headline on this fold alone.
        outlying: whether it stands out from the other folds by more than its choice of patients explains.
        overfitting: training minus validation score of each model, at the epoch whose weights count.
        worth: what a choice of inference adds to the score, ``size`` or ``tta``: one number a model that makes it.
        seconds: training took.
        device: what it trained on.
        memory: most bytes resident.
        gpu_memory: most bytes on a GPU.
        author: what the author's log says, where it is the same figure.
        why: why there is no score.
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
class Entry:
    """An experiment of the study with what came of it.

    Attributes:
        studied: the experiment.
        folds: a row each, those that failed among them.
        figure: the headline's name; empty without a score.
        score: of the pooled out-of-fold predictions.
        low: the lower end of its interval over patients.
        high: the upper.
        engine: what computed it.
        dataset: its hash.
        revision: of the code.
    """

    studied: Studied
    folds: tuple[Fold, ...]
    figure: str = ""
    score: float | None = None
    low: float | None = None
    high: float | None = None
    engine: str = ""
    dataset: str = ""
    revision: str = ""

    @property
    def run(self) -> str:
        """Its run's name."""
        return self.studied.run

    @property
    def name(self) -> str:
        """Its experiment's name."""
        return self.studied.experiment.name

    @property
    def device_seconds(self) -> float | None:
        """What all its trainings took together."""
        known = [fold.seconds for fold in self.folds if fold.seconds is not None]
        return sum(known) if known else None


def collect(store: "Store", studied: Studied, ended: str = "") -> Entry:
    """What the store knows of an experiment's run.

    Args:
        store: where the run is.
        studied: the experiment.
        ended: how its run ended here, where it left no word in the store.
    """
    from jobs.runtime.store import Missing

    try:
        return _scored(studied, store.get_json(layout.report(studied.run, "metrics.json")))
    except Missing:
        return _unscored(store, studied, ended)


def _scored(studied: Studied, metrics: Mapping[str, Any]) -> Entry:
    figure = metrics["headline"]["figure"]
    pooled = metrics["figures"][figure]
    around = pooled["interval"] or {}
    return Entry(
        studied=studied,
        folds=tuple(_fold(studied, metrics, fold) for fold in studied.experiment.folds.selected),
        figure=figure,
        score=pooled["score"],
        low=around.get("low"),
        high=around.get("high"),
        engine=metrics["engine"],
        dataset=metrics["data"]["dataset"],
        revision=metrics["provenance"]["revision"],
    )


def _fold(studied: Studied, metrics: Mapping[str, Any], number: int) -> Fold:
    scored = next((fold for fold in metrics["per_fold"] if fold["fold"] == number), None)
    if scored is None:
        return Fold(number, why="lost: the run went on without this fold")
    tasks = [task for task in metrics["tasks"] if task["fold"] == number]
    said = author_score(studied.experiment.name, number)
    return Fold(
        fold=number,
        score=scored["score"],
        outlying=scored["outlying"],
        overfitting=tuple(gap for task in tasks if (gap := _gap(studied, task)) is not None),
        worth={
            choice: tuple(task["worth"][choice] for task in tasks if choice in task["worth"])
            for choice in sorted({choice for task in tasks for choice in task["worth"]})
        },
        seconds=sum(task["seconds"] for task in tasks),
        device=", ".join(sorted({task["device"] for task in tasks})),
        memory=max(task["peak_memory"] for task in tasks),
        gpu_memory=max(task["peak_gpu_memory"] for task in tasks),
        author=said.value if _same_figure(said, metrics) and said else None,
    )


def _same_figure(said: Score | None, metrics: Mapping[str, Any]) -> bool:
    return said is not None and said.figure == metrics["headline"]["figure"]


def _gap(studied: Studied, task: Mapping[str, Any]) -> float | None:
    """Training minus validation score: how far a model is better on what it has seen."""
    experiment = studied.experiment
    model = experiment.classifiers.get(task["model"]) or experiment.detectors[task["model"]]
    epoch = task.get(model.inference.select) or {}
    train, validation = epoch.get("train_score"), epoch.get("val_score")
    return None if train is None or validation is None else train - validation


def _unscored(store: "Store", studied: Studied, ended: str) -> Entry:
    try:
        rows = status(store, studied.run)
    except BadInput:
        rows = []
    folds = studied.experiment.folds.selected
    return Entry(studied, tuple(Fold(fold, why=_why(rows, fold, ended)) for fold in folds))


def _why(rows: list["Row"], fold: int, ended: str) -> str:
    """Why a fold has no score: what befell its own tasks, else those of the run."""
    of_fold = [row for row in rows if row.task.endswith(f"-fold-{fold}")]
    of_run = [row for row in rows if "-fold-" not in row.task]
    for row in [*of_fold, *of_run, *rows]:
        if row.state in ("failed", "stopped"):
            return f"{row.task} {row.state}" + (f": {row.note.rstrip('.')}" if row.note else "")
    if ended:
        return ended
    left = next((row for row in [*of_fold, *of_run] if row.state != "succeeded"), None)
    return f"unfinished: {left.task} is {left.state}" if left else "has not run"
