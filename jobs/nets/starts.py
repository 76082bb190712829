"""The weights of a run as the start of a training: found by name, and refused where they have seen validation films."""

from collections.abc import Callable

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Model
from jobs.contract.stored.records import Done, TrainedFold
from jobs.films.lineage.crossing import Crossings
from jobs.films.lineage.overlap import Overlap, Validation
from jobs.films.lineage.seen import BESIDE, TEACHER, open_training, seen_by
from jobs.nets.training import Training
from jobs.nets.weights.trained_folds import find_start
from jobs.runtime.context import Context

Again = Callable[[Training], Done]


def start_of(context: Context, again: Again) -> TrainedFold | None:
    """Return the run's weights that a task starts from; None where it starts from others.

    Args:
        context: the attempt at a training.
        again: trains a start once more, without some of its films; called with ``overlap: drop`` only.

    Raises:
        BadInput: the start has seen films that the fold validates on, and ``overlap`` is ``refuse``.
    """
    model, fold = context.experiment.models[context.model], context.fold
    start = find_start(context.store, model.weights, fold)
    if start is None:
        return None
    crossings = Crossings(context, context.prepared.works["index"])
    return Start(model, f"{model.weights} fold {fold}", Validation(crossings, fold)).allowed(start, again)


def check_starts(context: Context, crossings: Crossings) -> None:
    """Refuse starts that have seen validation films, before any task asks for a GPU; say what is left out.

    Args:
        context: the attempt at prepare.
        crossings: of the run's own films.

    Raises:
        BadInput: a start has seen films that its fold validates on, and its model's ``overlap`` is ``refuse``.
    """
    for name, model in context.experiment.models.items():
        for fold in context.experiment.folds.selected:
            if trained := find_start(context.store, model.weights, fold):
                start = Start(model, f"{model.weights} fold {fold}", Validation(crossings, fold))
                for overlap in start.overlaps(trained):
                    context.progress.say(
                        f"{name} fold {fold}: {overlap.seen.how} is trained again without {len(overlap.images)} films, "
                        f"which the fold validates on or which resemble its films: {overlap.example}, …"
                    )


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
            BadInput: there are some, and the model's ``overlap`` is ``refuse``.
        """
        overlaps = self.validation.overlaps(seen_by(self.store, trained, self.how))
        if overlaps and self.model.overlap == "refuse":
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
        without: dict[str, set[str]] = {}
        for one in overlaps:
            if TEACHER in one.seen.how:
                raise BadInput(
                    f"{one.seen.how} has trained on {len(one.images)} films that fold {self.validation.fold} validates "
                    f"on, or that resemble its films ({one.example}), and overlap: drop does not train teachers again: "
                    "start from other weights."
                )
            if one.seen.how in (self.how, f"{self.how}{BESIDE}"):
                without.setdefault(one.seen.index, set()).update(one.images)
        training = Training.again(self.store, trained, done, start, without)
        with self.validation.crossings.context.progress.aside():
            anew = again(training)
        return trained.model_copy(update={"weights": anew.digest})
