"""The evaluation set: the studies and films that a submission is scored on, with their labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from jobs.contract.exits import BadInput
from jobs.contract.names import CLASS_NUMBERS, FILM_CLASSES, STUDY_CLASSES
from jobs.scoring import metric
from jobs.scoring.metric import Detections, Floats, Ints, MatchTable, Truth
from jobs.scoring.submission import UNIT_BOX, Submission, check, film_id, study_id


@dataclass(frozen=True)
class EvaluationSet:
    """The units that are scored, studies first, then films.

    Attributes:
        studies: study ids without suffix; units 0 to len(studies) - 1.
        films: image ids without suffix; the units after the studies.
        truth: ground truth of all six classes.
        patient: (units,) each unit's patient, numbered from 0.
        fold: (units,) each unit's fold; -1 where there is none.
    """

    studies: tuple[str, ...]
    films: tuple[str, ...]
    truth: Truth
    patient: Ints
    fold: Ints

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the units in a submission."""
        return (*map(study_id, self.studies), *map(film_id, self.films))

    def match(self, submission: Submission, name: str) -> MatchTable:
        """Match a submission with the ground truth.

        Args:
            submission: predictions for exactly these units.
            name: what messages call the submission.

        Raises:
            BadInput: the submission is invalid, or covers other units.
        """
        check(submission, self.studies, self.films, name)
        unit = {name: number for number, name in enumerate(self.ids)}
        rows = np.array([unit[row] for row in submission.ids], dtype=np.int64)
        detections = submission.detections
        return metric.match(self.truth, replace(detections, unit=rows[detections.unit]))

    @classmethod
    def from_index(cls, index: pd.DataFrame) -> "EvaluationSet":
        """Build the evaluation set of a dataset's index.

        Args:
            index: one row per film with ``image``, ``study``, ``study_class``, ``boxes`` and, where known, ``patient``
                (else each study counts as a patient) and ``fold``.

        Raises:
            BadInput: films without labels, which cannot be scored.
        """
        unlabelled = index.loc[index["study_class"].isna(), "study"]
        if len(unlabelled):
            raise BadInput(
                f"{unlabelled.nunique()} studies have no label, e.g. {unlabelled.iloc[0]}, and cannot be scored: use "
                "films whose label files are in the source."
            )
        studies = index.drop_duplicates("study").sort_values("study")
        films = index.sort_values("image")
        boxes = [np.asarray(list(map(list, of_film)), dtype=np.float64).reshape(-1, 4) for of_film in films["boxes"]]
        both = pd.concat([studies, films])
        patient = both["patient"] if "patient" in index else both["study"]
        fold = both["fold"] if "fold" in index else pd.Series(-1, index=both.index)
        return cls(
            studies=tuple(studies["study"]),
            films=tuple(films["image"]),
            truth=_truth([STUDY_CLASSES.index(name) for name in studies["study_class"]], boxes),
            patient=pd.factorize(patient, sort=True)[0].astype(np.int64),
            fold=np.asarray(fold, dtype=np.int64),
        )


def _truth(study_labels: Sequence[int], boxes: Sequence[Floats]) -> Truth:
    counts = np.array([len(of_film) for of_film in boxes], dtype=np.int64)
    film = np.arange(len(boxes)) + len(study_labels)
    clear = film[counts == 0]
    placeless = len(study_labels) + len(clear)
    return Truth(
        units=len(study_labels) + len(boxes),
        unit=np.concatenate([np.arange(len(study_labels)), clear, np.repeat(film, counts)]).astype(np.int64),
        label=np.concatenate(
            [
                np.asarray(study_labels, dtype=np.int64),
                np.full(len(clear), CLASS_NUMBERS["none"]),
                np.full(int(counts.sum()), CLASS_NUMBERS["opacity"]),
            ]
        ).astype(np.int64),
        box=np.concatenate([np.tile(UNIT_BOX, (placeless, 1)), *boxes]),
    )


def film2_table(has_box: np.ndarray, none: Floats, opacity: Floats) -> MatchTable:
    """Match film-level probabilities of none and opacity, the two classes of ``film2``.

    Args:
        has_box: (films,) whether the film shows an opacity.
        none: (films,) probability that it does not.
        opacity: (films,) probability that it does.
    """
    films = len(has_box)
    unit = np.arange(films)
    truth = Truth(films, unit, has_box.astype(np.int64), np.tile(UNIT_BOX, (films, 1)))
    detections = Detections(
        unit=np.tile(unit, 2),
        label=np.repeat(np.arange(2), films),
        confidence=np.concatenate([none, opacity]),
        box=np.tile(UNIT_BOX, (2 * films, 1)),
    )
    return metric.match(truth, detections, FILM_CLASSES)
