"""The history of a run's tasks, read from the store: learning curves, time, memory."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.contract.names import Stage
from jobs.contract.plan import fold_tasks
from jobs.contract.stored import layout
from jobs.contract.stored.records import Done, Output
from jobs.contract.task import TaskId
from jobs.runtime.context import Context
from jobs.runtime.work import fetch

# Suffixes of scores computed with one inference option switched off, e.g. opacity_without_tta beside opacity.
WITHOUT_OPTION = {"size": "_at_training_size", "tta": "_without_tta"}


@dataclass(frozen=True)
class TaskHistory:
    """One task of the run and its finished work.

    Attributes:
        id: the task.
        works: kind → the record of the finished work.
        epochs: a training's epochs, in order, each with ``train_score``, ``val_score``, ``train_loss`` …
        candidates: a search's candidates, in order, each with ``score`` and ``settings``; empty without a search.
        search_seconds: time that the epochs of all candidates took.
        recipe: the experiment with the best candidate's settings, as YAML.
    """

    id: TaskId
    works: Mapping[str, Done]
    epochs: tuple[Mapping[str, Any], ...] = ()
    candidates: tuple[Mapping[str, Any], ...] = ()
    search_seconds: float = 0.0
    recipe: str = ""

    @property
    def trained(self) -> bool:
        """Whether the task is a training."""
        return "weights" in self.works

    @property
    def seconds(self) -> float:
        """Time taken by all attempts."""
        return max([_seconds(self.epochs), self.search_seconds, *(done.cost.seconds for done in self.works.values())])

    @property
    def peak_memory(self) -> int:
        """Peak resident memory in bytes."""
        return max((done.cost.peak_memory for done in self.works.values()), default=0)

    @property
    def peak_gpu_memory(self) -> int:
        """Peak GPU memory in bytes."""
        return max((done.cost.peak_gpu_memory for done in self.works.values()), default=0)

    @property
    def device(self) -> str:
        """The GPU's name where any of the work used one, else ``cpu``."""
        devices = {done.cost.device for done in self.works.values()}
        return next(iter(sorted(devices - {"cpu"})), "cpu")

    @property
    def precision(self) -> str:
        """Precision that a training's net computed in, e.g. ``bf16``; empty for other tasks."""
        return self.works["weights"].cost.precision if self.trained else ""

    @property
    def spent(self) -> Mapping[str, float]:
        """Seconds of a training's last attempt by what they were spent on; empty for other tasks."""
        return self.works["weights"].cost.spent if self.trained else {}

    @property
    def gains(self) -> dict[str, float]:
        """Inference option (``size``, ``tta``) → how much it adds to the score on the held-out fold."""
        scores = {name: score for done in self.works.values() for name, score in done.scores.items()}
        return {
            option: scores[name.removesuffix(suffix)] - score
            for name, score in scores.items()
            for option, suffix in WITHOUT_OPTION.items()
            if name.endswith(suffix)
        }

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The epoch with the best validation score, the earliest of equal ones; None where no epoch has a score."""
        scored = [epoch for epoch in self.epochs if epoch.get("val_score") is not None]
        return max(scored, key=lambda epoch: float(epoch["val_score"]), default=None)

    @property
    def last(self) -> Mapping[str, Any] | None:
        """The last epoch; None without epochs."""
        return self.epochs[-1] if self.epochs else None


def histories(context: Context, folds: list[int]) -> list[TaskHistory]:
    """Read the history of every task before evaluate, in pipeline order; of tasks per fold only those of ``folds``."""
    predicts = context.settings.from_run is not None
    of_folds = [task for task in fold_tasks(context.experiment, predicts=predicts) if task.fold in folds]
    return [_history(context, task) for task in (TaskId(Stage.PREPARE), *of_folds, TaskId(Stage.ENSEMBLE))]


def by_model(tasks: Iterable[TaskHistory]) -> dict[str, list[TaskHistory]]:
    """Group training tasks by their model, in order."""
    models: dict[str, list[TaskHistory]] = {}
    for task in tasks:
        if task.id.model:
            models.setdefault(task.id.model, []).append(task)
    return models


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
    search_seconds = sum(_seconds(_json(context, curve)["epochs"]) for curve in curves)
    return TaskHistory(task, works, tuple(epochs), tuple(candidates), search_seconds, recipe)


def _json(context: Context, output: Output) -> Any:
    return json.loads(fetch(context.store, output, context.cache).read_text())


def _seconds(epochs: Sequence[Mapping[str, Any]]) -> float:
    return sum(float(epoch.get("seconds", 0.0)) for epoch in epochs)
