"""Teachers, finished runs that label films of ``data.extra``; and whether the store has what an experiment needs."""

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment, Model, PseudoLabels
from jobs.contract.needs.pretrained import Read, check_pretrained, experiment_of
from jobs.contract.needs.split import find_split
from jobs.contract.plan import training_stage
from jobs.contract.stored import layout
from jobs.contract.task import TaskId


def check_stored(experiment: Experiment, read: Read, where: str) -> None:
    """Refuse an experiment that names weights, teachers or a frozen split that the store does not have.

    Args:
        experiment: what is to be trained.
        read: returns a JSON object of the store by its key, None where there is none.
        where: address of the store, for messages.

    Raises:
        BadInput: naming what is missing and the command that helps.
    """
    check_pretrained(experiment, read, where)
    check_teachers(experiment, read, where)
    find_split(experiment, read, where)


def check_teachers(experiment: Experiment, read: Read, where: str) -> None:
    """Refuse an experiment whose teachers are missing, unfinished, or answer other questions than its models ask.

    Args:
        experiment: its ``data.extra`` may each name a teacher.
        read: returns a JSON object of the store by its key, None where there is none.
        where: address of the store, for messages.

    Raises:
        BadInput: naming the entry, the run and what to change.
    """
    for number, extra in enumerate(experiment.data.extra):
        if extra.labels is None:
            continue
        path, run = f"data.extra.{number}.labels", extra.labels.run
        teacher = experiment_of(run, path, read, where)
        _refuse_other_classes(experiment, teacher, extra.labels, path)
        for fold in experiment.folds.selected:
            if fold not in teacher.folds.selected:
                raise BadInput(
                    f"{path}: run {run} trains fold {', '.join(map(str, teacher.folds.selected))}, so no net of it can "
                    f"label films for fold {fold}: train that fold there, or leave it out with --folds."
                )
            for name in asked(teacher, extra.labels):
                task = TaskId(training_stage(teacher, name), name, fold)
                if read(layout.reference(run, task)) is None:
                    raise BadInput(
                        f"{path}: run {run} has not finished {task.name}: resume it first (cv.py resume {run})."
                    )


def asked(teacher: Experiment, labels: PseudoLabels) -> dict[str, Model]:
    """The teacher's models that label films: those that vote on study classes, and on boxes where boxes are wanted."""
    return {
        name: model
        for name, model in teacher.voters.items()
        if model.answers_studies or (model.answers_boxes and labels.boxes)
    }


def _refuse_other_classes(experiment: Experiment, teacher: Experiment, labels: PseudoLabels, path: str) -> None:
    answering = asked(teacher, labels).values()
    studies, boxes = (any(getattr(model, f"answers_{what}") for model in answering) for what in ("studies", "boxes"))
    for name, model in experiment.models.items():
        if model.answers_studies and not studies:
            raise BadInput(
                f"{path}: {name} learns study classes, and no model of run {labels.run} predicts them: name a run with "
                "a classifier of studies."
            )
        if (model.answers_boxes or not model.answers_studies) and not boxes:
            raise BadInput(
                f"{path}: {name} learns from boxes, and run {labels.run} gives none: set boxes (above and below), and "
                "name a run with a detector."
            )
