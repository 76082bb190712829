"""Names of stages, labels and classes, each spelt in one place."""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from jobs.contract.exits import BadInput


class Stage(StrEnum):
    """A stage of the pipeline: the same word names its template, its package, its S3 prefix and its label."""

    PREPARE = "prepare"
    TRAIN_CLASSIFIER = "train-classifier"
    TRAIN_DETECTOR = "train-detector"
    PREDICT = "predict"
    ENSEMBLE = "ensemble"
    EVALUATE = "evaluate"

    @property
    def per_fold(self) -> bool:
        """Whether a run has the stage once per model and fold."""
        return self in (Stage.TRAIN_CLASSIFIER, Stage.TRAIN_DETECTOR, Stage.PREDICT)

    @property
    def module(self) -> str:
        """The Python package of the stage, e.g. ``jobs.train_classifier``."""
        return f"jobs.{self.value.replace('-', '_')}"


# Labels on workflows and pods.
RUN_LABEL: Final = "cxrfold/run"
EXPERIMENT_LABEL: Final = "cxrfold/experiment"
STAGE_LABEL: Final = "cxrfold/stage"
MODEL_LABEL: Final = "cxrfold/model"
FOLD_LABEL: Final = "cxrfold/fold"
QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"

# Room for Argo's suffix in a label of 63 characters.
LONGEST_RUN_NAME: Final = 53
_RUN_NAME: Final = re.compile(rf"[a-z0-9]([a-z0-9-]{{0,{LONGEST_RUN_NAME - 2}}}[a-z0-9])?")

_RUN_WEIGHTS: Final = "run:"

STUDY_CLASSES: Final = ("negative", "typical", "indeterminate", "atypical")
FILM_CLASSES: Final = ("none", "opacity")
ALL_CLASSES: Final = STUDY_CLASSES + FILM_CLASSES
# Detections store a class as its number.
CLASS_NUMBERS: Final = {name: number for number, name in enumerate(ALL_CLASSES)}

# The competition's column of each study class, in the order of STUDY_CLASSES.
STUDY_COLUMNS: Final = (
    "Negative for Pneumonia",
    "Typical Appearance",
    "Indeterminate Appearance",
    "Atypical Appearance",
)


def check_run_name(run: str) -> str:
    """Return a run's name if it is valid in labels, pod names, S3 keys and paths.

    Raises:
        BadInput: it is not.
    """
    if not _RUN_NAME.fullmatch(run):
        raise BadInput(
            f"{run!r} cannot name a run: use 1 to {LONGEST_RUN_NAME} of a-z, 0-9 and -, with a letter or digit at "
            "both ends."
        )
    return run


class RunModel(NamedTuple):
    """A model of a run, as ``weights: run:RUN/MODEL`` names it."""

    run: str
    model: str


def run_model(weights: str) -> RunModel | None:
    """Parse ``run:RUN/MODEL``; None for any other name of weights.

    Raises:
        BadInput: it begins with ``run:`` and names no run or no model.
    """
    if not weights.startswith(_RUN_WEIGHTS):
        return None
    run, _, model = weights.removeprefix(_RUN_WEIGHTS).partition("/")
    if not model:
        raise BadInput(f"{weights!r}: name a model of a run, as in run:RUN/MODEL.")
    return RunModel(check_run_name(run), model)


def extra_name(number: int) -> str:
    """The name of an entry of ``data.extra``, which stands for a model in the names of tasks that label its films."""
    return f"extra-{number}"


def first_names(names: Sequence[str], shown: int) -> str:
    """Return the first names of a list for a message, and how many more there are; empty for none."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
