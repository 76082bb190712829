"""What a run's tasks did and took: learning curves, time, memory. Read from the store."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.contract import layout
from jobs.contract.names import Stage
from jobs.contract.plan import fold_tasks
from jobs.contract.records import Done, Output
from jobs.contract.task import TaskId
from jobs.runtime.context import Context
from jobs.runtime.work import fetch

# What a score is named that was taken without a choice of inference, e.g. opacity_without_tta beside opacity.
PLAINER = {"size": "_at_training_size", "tta": "_without_tta"}


@dataclass(frozen=True)
class TaskHistory:
    """One task of the run with its pieces of work.

    Attributes:
        id: which task.
        works: kind → what it left.
        epochs: a training's epochs, in order: ``train_score``, ``val_score``, ``train_loss`` … each.
        candidates: of a search for settings, in order: ``score`` and ``settings`` of each; empty without one.
        searched: seconds that the epochs of all candidates took.
        recipe: the experiment with the best of them, as YAML.
    """

    id: TaskId
    works: Mapping[str, Done]
    epochs: tuple[Mapping[str, Any], ...] = ()
    candidates: tuple[Mapping[str, Any], ...] = ()
    searched: float = 0.0
    recipe: str = ""

    @property
    def trained(self) -> bool:
        """Whether the task is a training."""
        return "weights" in self.works

    @property
    def seconds(self) -> float:
        """What it took. A work's clock starts with its attempt, a training's epochs count over all attempts."""
        return max([_seconds(self.epochs), self.searched, *(done.cost.seconds for done in self.works.values())])

    @property
    def peak_memory(self) -> int:
        """Bytes of resident memory at the most."""
        return max((done.cost.peak_memory for done in self.works.values()), default=0)

    @property
    def peak_gpu_memory(self) -> int:
        """Bytes of a GPU's memory at the most."""
        return max((done.cost.peak_gpu_memory for done in self.works.values()), default=0)

    @property
    def device(self) -> str:
        """What it ran on; a GPU's name where one of its works had one."""
        devices = {done.cost.device for done in self.works.values()}
        return next(iter(sorted(devices - {"cpu"})), "cpu")

    @property
    def worth(self) -> dict[str, float]:
        """What choices of inference add to the score on the held-out films: ``size`` of its own, ``tta``."""
        scores = {name: score for done in self.works.values() for name, score in done.scores.items()}
        return {
            choice: scores[name.removesuffix(ending)] - score
            for name, score in scores.items()
            for choice, ending in PLAINER.items()
            if name.endswith(ending)
        }

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The epoch of the best validation score, the earliest of equals; None where no epoch has one."""
        scored = [epoch for epoch in self.epochs if epoch.get("val_score") is not None]
        return max(scored, key=lambda epoch: float(epoch["val_score"]), default=None)

    @property
    def last(self) -> Mapping[str, Any] | None:
        """The last epoch."""
        return self.epochs[-1] if self.epochs else None


def histories(context: Context, folds: list[int]) -> list[TaskHistory]:
    """The history of every task before evaluate, in the order of the pipeline; of training tasks those of ``folds``."""
    training = [task for task in fold_tasks(context.experiment) if task.fold in folds]
    return [_history(context, task) for task in (TaskId(Stage.PREPARE), *training, TaskId(Stage.ENSEMBLE))]


def _history(context: Context, task: TaskId) -> TaskHistory:
    digests = context.upstream(task).works
    works = {kind: context.open_work(task.stage, digest)[1] for kind, digest in digests.items()}
    if "weights" not in works:
        return TaskHistory(task, works)
    epochs = _json(context, works["weights"].outputs["curve.json"])["epochs"]
    if (search := works.get("search")) is None:
        return TaskHistory(task, works, tuple(epochs))
    assert task.model is not None
    assert task.fold is not None
    recipe = context.store.get(layout.recipe(context.run, task.model, task.fold)).decode()
    candidates = _json(context, search.outputs["candidates.json"])
    curves = [output for name, output in search.outputs.items() if name.startswith("curve-")]
    searched = sum(_seconds(_json(context, curve)["epochs"]) for curve in curves)
    return TaskHistory(task, works, tuple(epochs), tuple(candidates), searched, recipe)


def _json(context: Context, output: Output) -> Any:
    return json.loads(fetch(context.store, output, context.cache).read_text())


def _seconds(epochs: Sequence[Mapping[str, Any]]) -> float:
    return sum(float(epoch.get("seconds", 0.0)) for epoch in epochs)
