"""The field's own words, each spelt in one place."""

from enum import StrEnum
from typing import Final


class Stage(StrEnum):
    """A stage is one DAG task, one pod, one module folder, one S3 prefix and one label: the same word everywhere."""

    PREPARE = "prepare"
    TRAIN_CLASSIFIER = "train-classifier"
    TRAIN_DETECTOR = "train-detector"
    PREDICT = "predict"
    ENSEMBLE = "ensemble"
    EVALUATE = "evaluate"

    @property
    def module(self) -> str:
        """The Python package of the stage, e.g. ``jobs.train_classifier``."""
        return f"jobs.{self.value.replace('-', '_')}"


STUDY_CLASSES: Final = ("negative", "typical", "indeterminate", "atypical")
FILM_CLASSES: Final = ("none", "opacity")
ALL_CLASSES: Final = STUDY_CLASSES + FILM_CLASSES

# The competition's column of each study class, in the order of STUDY_CLASSES.
STUDY_COLUMNS: Final = (
    "Negative for Pneumonia",
    "Typical Appearance",
    "Indeterminate Appearance",
    "Atypical Appearance",
)
