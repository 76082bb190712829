"""The tasks of a run and their dependencies: one list for workflow, board, ensemble and report."""

from dataclasses import dataclass

from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage, extra_name
from jobs.contract.task import TaskId


@dataclass(frozen=True)
class PlannedTask:
    """One task of a run: one pod on a cluster, one process here.

    Attributes:
        id: which task.
        needs: the tasks that must finish first.
        detector: whether its model is a detector, so that it needs the image with ultralytics.
    """

    id: TaskId
    needs: tuple[TaskId, ...] = ()
    detector: bool = False

    @property
    def name(self) -> str:
        """The task's name, e.g. ``b3-fold-2``."""
        return self.id.name


def plan(experiment: Experiment, *, predicts: bool = False, scores: bool = True) -> list[PlannedTask]:
    """All tasks of a run, each after those it needs.

    Args:
        experiment: its models and selected folds decide.
        predicts: whether the run predicts a test set with another run's weights.
        scores: whether the run ends with evaluate, which scores a test set where it has labels. Predictions ordered
            from an older version end with the ensemble.
    """
    prepare = PlannedTask(TaskId(Stage.PREPARE))
    labels = [] if predicts else label_tasks(experiment)
    tasks = [
        PlannedTask(
            task,
            (prepare.id, *(label.id for label in labels if label.id.fold == task.fold)),
            task.model in experiment.detectors,
        )
        for task in fold_tasks(experiment, predicts=predicts)
    ]
    ensemble = PlannedTask(TaskId(Stage.ENSEMBLE), tuple(task.id for task in tasks))
    last = [PlannedTask(TaskId(Stage.EVALUATE), (ensemble.id,))] if scores else []
    return [prepare, *labels, *tasks, ensemble, *last]


def label_tasks(experiment: Experiment) -> list[PlannedTask]:
    """The tasks in which a teacher's nets of a fold label the films of ``data.extra`` for that fold."""
    return [
        PlannedTask(
            TaskId(Stage.PREDICT, extra_name(number), fold), (TaskId(Stage.PREPARE),), extra.labels.boxes is not None
        )
        for number, extra in enumerate(experiment.data.extra)
        if extra.labels
        for fold in experiment.folds.selected
    ]


def fold_tasks(experiment: Experiment, *, predicts: bool = False) -> list[TaskId]:
    """The tasks that a run has once per model and fold, model by model."""
    return [
        TaskId(Stage.PREDICT if predicts else training_stage(experiment, name), name, fold)
        for name in experiment.models
        for fold in experiment.folds.selected
    ]


def training_stage(experiment: Experiment, model: str) -> Stage:
    """The stage that trains a model of the experiment."""
    return Stage.TRAIN_DETECTOR if model in experiment.detectors else Stage.TRAIN_CLASSIFIER
