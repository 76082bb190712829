"""The films that weights were trained on, followed through the records of all trainings behind them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from jobs.contract.exits import BadInput
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Done, TrainedFold
from jobs.runtime.store import Missing, Store
from jobs.runtime.work import Work

TEACHER: Final = " through the teacher of its films beside the folds"
BESIDE: Final = " in its films beside the folds"


@dataclass(frozen=True)
class Seen:
    """Films that a training saw.

    Attributes:
        index: digest of the index of the films.
        fold: the fold that was held out; None where all films were trained on.
        without: images that were left out besides.
        how: which training, for messages, e.g. ``run:wide/b3 fold 1 through its start``.
    """

    index: str
    fold: int | None
    without: frozenset[str]
    how: str


def open_training(store: Store, trained: TrainedFold, how: str) -> Done:
    """Return the record of a training.

    Raises:
        BadInput: it was deleted, or is damaged.
    """
    try:
        return Work.finished(store, trained.stage, trained.weights)[1]
    except Missing as error:
        raise BadInput(
            f"The weights of {how} are no longer in the store ({layout.work(trained.stage, trained.weights)}): resume "
            "the run that trained them, or start from other weights."
        ) from error


def seen_by(store: Store, trained: TrainedFold, how: str) -> Iterator[Seen]:
    """Yield all films that went into weights: of their training, of its start, and so on to the first.

    Args:
        store: the store with the records.
        trained: the weights.
        how: their name, for messages.

    Raises:
        BadInput: a record on the way was deleted, so that it is not known what was seen.
    """
    inputs = open_training(store, trained, how).inputs
    yield Seen(trained.index, inputs["fold"], frozenset(inputs.get("without", ())), how)
    for extra in inputs.get("extra", ()):
        yield Seen(extra["index"], None, frozenset(extra.get("without", ())), f"{how}{BESIDE}")
        for teacher in _teachers(store, extra.get("labels"), how):
            yield from seen_by(store, teacher, f"{how}{TEACHER}")
    if start := inputs.get("start"):
        yield from seen_by(store, TrainedFold.model_validate(start), f"{how} through its start")


def _teachers(store: Store, labels: str | None, how: str) -> list[TrainedFold]:
    """Return the weights that predicted labels, by the digest of the labels."""
    if labels is None:
        return []
    try:
        inputs = Work.finished(store, Stage.PREDICT, labels)[1].inputs
    except Missing as error:
        raise BadInput(
            f"The labels that {how} was trained on are no longer in the store ({layout.work(Stage.PREDICT, labels)}), "
            "so it is not known what their teacher has seen: resume the run that trained it."
        ) from error
    return [TrainedFold.model_validate(one) for one in inputs["teachers"]]


def images_seen(rows: dict[str, int], seen: Seen) -> list[str]:
    """Return which images were seen, given each image's own fold in the index of ``seen``."""
    return [image for image, fold in rows.items() if fold != seen.fold and image not in seen.without]
