"""The weights of a run as the start of a training: found by name, and refused where they have seen validation films."""

from collections.abc import Callable

from jobs.contract import layout
from jobs.contract.exits import BadInput, Damaged
from jobs.contract.experiment import Experiment, Model
from jobs.contract.names import Stage, run_model
from jobs.contract.plan import training_stage
from jobs.contract.pretrained import PromotedRecord, experiment_of, stored_record
from jobs.contract.records import Done, Reference, TrainedFold
from jobs.contract.task import TaskId
from jobs.films.lineage.crossing import Crossings
from jobs.films.lineage.overlap import Overlap, Validation
from jobs.films.lineage.seen import open_training, seen_by
from jobs.nets.training import Training
from jobs.runtime.context import Context
from jobs.runtime.store import Missing, Store
from jobs.runtime.work import Work

Again = Callable[[Training], Done]


def find_start(store: Store, weights: str | None, fold: int) -> TrainedFold | None:
    """Return the run's weights that a fold starts from; None where ``weights`` names none of a run.

    Raises:
        BadInput: the run, its model or the fold does not exist, or is not finished.
    """
    if weights is None:
        return None
    if named := run_model(weights):
        experiment = experiment_of(named.run, f"weights: {weights}", store.find_json, store.url)
        return trained_fold(store, experiment, named.run, named.model, fold)
    stored = store.find_json(layout.weights(weights))
    record = stored_record(stored) if stored else None
    return record.start_of(fold, weights) if isinstance(record, PromotedRecord) else None


def trained_fold(store: Store, experiment: Experiment, run: str, model: str, fold: int) -> TrainedFold:
    """Return the weights of a model and fold of a run, with the index of the films that they were trained on.

    Raises:
        BadInput: the training is not finished, or its films were prepared again since.
    """
    if model not in experiment.models:
        raise BadInput(f"Run {run} has no model {model}; it has {', '.join(experiment.models)}: name one of them.")
    stage = training_stage(experiment, model)
    try:
        trained = _works(store, run, TaskId(stage, model, fold))["weights"]
        index = _works(store, run, TaskId(Stage.PREPARE))["index"]
        dataset = Work.finished(store, Stage.PREPARE, index)[1].outputs["index.parquet"].sha256
        made_from = Work.finished(store, stage, trained)[1].inputs["dataset"]
    except (Missing, Damaged) as error:
        raise BadInput(
            f"Run {run} has no weights of {model} fold {fold} in {store.url}: resume that run first (cv.py resume "
            f"{run}), or name one that has them."
        ) from error
    if made_from != dataset:
        raise BadInput(
            f"Run {run} has prepared other films since it trained {model} fold {fold}: resume it first (cv.py resume "
            f"{run})."
        )
    return TrainedFold(stage=stage, weights=trained, index=index, select=experiment.models[model].inference.select)


def start_of(context: Context, again: Again) -> TrainedFold | None:
    """Return the run's weights that a task starts from; None where it starts from others.

    Args:
        context: the attempt at a training.
        again: trains a start once more, without some of its films; called with ``overlap: drop`` only.

    Raises:
        BadInput: the start has seen films that the fold validates on, and ``overlap`` is ``error``.
    """
    model, fold = context.experiment.models[context.model], context.fold
    start = find_start(context.store, model.weights, fold)
    if start is None:
        return None
    crossings = Crossings(context, context.prepared.works["index"])
    return Start(model, f"{model.weights} fold {fold}", Validation(crossings, fold)).allowed(start, again)


def check_starts(context: Context, index: str) -> list[str]:
    """Refuse starts that have seen validation films, before any task asks for a GPU; say what is left out.

    Args:
        context: the attempt at prepare.
        index: digest of the index that it made.

    Returns:
        Digests of the comparisons that were made, for prepare's reference.

    Raises:
        BadInput: a start has seen films that its fold validates on, and its model's ``overlap`` is ``error``.
    """
    crossings = Crossings(context, index)
    for name, model in context.experiment.models.items():
        for fold in context.experiment.folds.selected:
            if trained := find_start(context.store, model.weights, fold):
                start = Start(model, f"{model.weights} fold {fold}", Validation(crossings, fold))
                for overlap in start.overlaps(trained):
                    context.progress.say(
                        f"{name} fold {fold}: {overlap.seen.how} is trained again without {len(overlap.images)} films, "
                        f"which the fold validates on or which resemble its films: {overlap.example}, …"
                    )
    return crossings.made


class Start:
    """A start of one fold.

    Args:
        model: the model that starts from it.
        how: its name in messages.
        validation: the films that it must not have seen.
    """

    def __init__(self, model: Model, how: str, validation: Validation) -> None:
        self.model, self.how, self.validation = model, how, validation
        self.store = validation.crossings.context.store

    def overlaps(self, trained: TrainedFold) -> list[Overlap]:
        """Return the films that it should not have seen.

        Raises:
            BadInput: there are some, and the model's ``overlap`` is ``error``.
        """
        overlaps = self.validation.overlaps(seen_by(self.store, trained, self.how))
        if overlaps and self.model.overlap == "error":
            first, fold = overlaps[0], self.validation.fold
            raise BadInput(
                f"{first.seen.how} has trained on {len(first.images)} films that fold {fold} validates on, or that "
                f"resemble its films ({first.example}): start from weights of the same split, or set the model's "
                "overlap to drop, which trains the start of this fold again without them."
            )
        return overlaps

    def allowed(self, trained: TrainedFold, again: Again) -> TrainedFold:
        """Return the weights, or those of the same training without the films that it should not have seen.

        Args:
            trained: the weights that are named.
            again: trains once more.
        """
        overlaps = self.overlaps(trained)
        if not overlaps:
            return trained
        done = open_training(self.store, trained, self.how)
        inner = done.inputs.get("start")
        start = self.allowed(TrainedFold.model_validate(inner), again) if inner else None
        own = tuple(image for one in overlaps if one.seen.how == self.how for image in one.images)
        training = Training.again(self.store, trained, done, start, own)
        return trained.model_copy(update={"weights": again(training).digest})


def _works(store: Store, run: str, task: TaskId) -> dict[str, str]:
    return store.get_record(layout.reference(run, task), Reference).works
