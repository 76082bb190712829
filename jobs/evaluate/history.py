"""What a run's tasks did and took: learning curves, time, memory. Read from the store."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.contract import layout
from jobs.contract.done import Done, Output
from jobs.contract.names import Stage
from jobs.runtime.context import Context
from jobs.runtime.work import fetch

TRAINING = (Stage.TRAIN_CLASSIFIER, Stage.TRAIN_DETECTOR)
# What a score is named that was taken without a choice of inference, e.g. opacity_without_tta beside opacity.
PLAINER = {"size": "_at_training_size", "tta": "_without_tta"}


@dataclass(frozen=True)
class Task:
    """One task of the run with its pieces of work.

    Attributes:
        stage: the stage.
        model: the model's name, None where the stage has none.
        fold: the held-out fold, likewise.
        works: kind → what it left.
        epochs: a training's epochs, in order: ``train_score``, ``val_score``, ``train_loss`` … each.
        candidates: of a search for settings, in order: ``score`` and ``settings`` of each; empty without one.
        searched: seconds that the epochs of all candidates took.
        recipe: the experiment with the best of them, as YAML.
    """

    stage: Stage
    model: str | None
    fold: int | None
    works: Mapping[str, Done]
    epochs: tuple[Mapping[str, Any], ...] = ()
    candidates: tuple[Mapping[str, Any], ...] = ()
    searched: float = 0.0
    recipe: str = ""

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


def tasks(context: Context, folds: list[int]) -> list[Task]:
    """All tasks before evaluate, in the order of the pipeline; of the training tasks those of ``folds``."""
    experiment = context.experiment
    return [
        _task(context, Stage.PREPARE, None, None),
        *(_task(context, Stage.TRAIN_CLASSIFIER, name, fold) for name in experiment.classifiers for fold in folds),
        *(_task(context, Stage.TRAIN_DETECTOR, name, fold) for name in experiment.detectors for fold in folds),
        _task(context, Stage.ENSEMBLE, None, None),
    ]


def _task(context: Context, stage: Stage, model: str | None, fold: int | None) -> Task:
    digests = context.upstream(stage, model, fold).works
    works = {kind: context.open_work(stage, digest)[1] for kind, digest in digests.items()}
    if stage not in TRAINING:
        return Task(stage, model, fold, works)
    epochs = _json(context, works["weights"].outputs["curve.json"])["epochs"]
    if (search := works.get("search")) is None:
        return Task(stage, model, fold, works, tuple(epochs))
    assert model is not None
    assert fold is not None
    recipe = context.store.get(layout.recipe(context.run, model, fold)).decode()
    candidates = _json(context, search.outputs["candidates.json"])
    curves = [output for name, output in search.outputs.items() if name.startswith("curve-")]
    searched = sum(_seconds(_json(context, curve)["epochs"]) for curve in curves)
    return Task(stage, model, fold, works, tuple(epochs), tuple(candidates), searched, recipe)


def _json(context: Context, output: Output) -> Any:
    return json.loads(fetch(context.store, output, context.cache).read_text())


def _seconds(epochs: Sequence[Mapping[str, Any]]) -> float:
    return sum(float(epoch.get("seconds", 0.0)) for epoch in epochs)
