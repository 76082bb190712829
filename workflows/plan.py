"""What an experiment's run consists of: its tasks and what each waits for. No hera, no cluster."""

from dataclasses import dataclass

from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage


@dataclass(frozen=True)
class Predict:
    """A test set, predicted with the weights of a finished run."""

    source: str
    from_run: str

    def instead(self, experiment: Experiment) -> Experiment:
        """The experiment with this test set in place of its own films."""
        data = experiment.data.model_copy(update={"source": self.source, "split": None})
        return experiment.model_copy(update={"data": data})


@dataclass(frozen=True)
class PlannedTask:
    """One task of a run: one pod, one process."""

    stage: Stage
    needs: tuple[str, ...] = ()
    model: str | None = None
    fold: int | None = None
    detector: bool = False  # of a detector model, so it needs the image with ultralytics

    @property
    def name(self) -> str:
        """The task's name, e.g. ``train-classifier-b3-fold-2``."""
        return task_name(self.stage, self.model, self.fold)


def task_name(stage: Stage, model: str | None = None, fold: int | None = None) -> str:
    """The name of a task on Argo's page and in messages."""
    parts = [str(stage)]
    if model is not None:
        parts.append(model)
    if fold is not None:
        parts.append(f"fold-{fold}")
    return "-".join(parts)


def plan(experiment: Experiment, predict: bool = False) -> list[PlannedTask]:
    """All tasks of a run, each after those it needs."""
    prepare = PlannedTask(Stage.PREPARE)
    models = [(name, False) for name in experiment.classifiers] + [(name, True) for name in experiment.detectors]
    tasks = [
        PlannedTask(_stage(detector, predict), (prepare.name,), name, fold, detector)
        for name, detector in models
        for fold in experiment.folds.selected
    ]
    ensemble = PlannedTask(Stage.ENSEMBLE, tuple(task.name for task in tasks))
    # A test set has no labels, so there is nothing to evaluate.
    last = [] if predict else [PlannedTask(Stage.EVALUATE, (ensemble.name,))]
    return [prepare, *tasks, ensemble, *last]


def _stage(detector: bool, predict: bool) -> Stage:
    if predict:
        return Stage.PREDICT
    return Stage.TRAIN_DETECTOR if detector else Stage.TRAIN_CLASSIFIER
