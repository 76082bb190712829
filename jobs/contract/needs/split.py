"""Splits in the store under a name: their patients keep their folds, whatever films are added to a source."""

from typing import Final

from pydantic import TypeAdapter, ValidationError

from jobs.contract.exits import BadInput, Damaged
from jobs.contract.experiment import Experiment, Name
from jobs.contract.needs.pretrained import Read
from jobs.contract.stored import layout
from jobs.contract.stored.records import StoredRecord

_NAME: Final[TypeAdapter[str]] = TypeAdapter(Name)


class FrozenSplit(StoredRecord):
    """Folds that do not change.

    Attributes:
        count: number of folds.
        patients: patient → fold.
        studies: study → fold, for studies whose patient has another name by now.
    """

    count: int
    patients: dict[str, int]
    studies: dict[str, int]


def check_split_name(name: str) -> str:
    """Return a split's name if an experiment can name it.

    Raises:
        BadInput: it cannot.
    """
    try:
        return _NAME.validate_python(name)
    except ValidationError as error:
        raise BadInput(
            f"{name!r} cannot name a split: use 1 to 40 of a-z, 0-9 and -, with a letter or digit at both ends."
        ) from error


def find_split(experiment: Experiment, read: Read, where: str) -> FrozenSplit | None:
    """Return the split that an experiment's patients keep; None where it names none.

    Args:
        experiment: its ``folds.frozen`` may name a split.
        read: returns a JSON object of the store by its key, None where there is none.
        where: address of the store, for messages.

    Raises:
        BadInput: the store has no such split, or one of another number of folds.
    """
    name, count = experiment.folds.frozen, experiment.folds.count
    if name is None:
        return None
    try:
        split = FrozenSplit.model_validate(read(layout.split(name)))
    except (Damaged, ValidationError) as error:  # None is no split either
        raise BadInput(
            f"folds.frozen: {where} has no split {name} that can be read: put it there with cv.py split import FILE "
            f"{name}; cv.py split export RUN FILE writes the file."
        ) from error
    if split.count != count:
        raise BadInput(
            f"folds.frozen: the split {name} has {split.count} folds, and folds.count is {count}: set folds.count to "
            f"{split.count}, or name another split."
        )
    return split
