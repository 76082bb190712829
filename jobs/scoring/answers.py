"""The answer sheet: what a submission is scored against, built from the labels of films."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from jobs.contract.exits import BadInput
from jobs.contract.names import CLASS_NUMBERS, FILM_CLASSES, STUDY_CLASSES
from jobs.scoring import metric
from jobs.scoring.metric import Detections, Floats, Ints, MatchTable, Truth
from jobs.scoring.submission import UNIT_BOX, Submission, check, film_id, study_id


@dataclass(frozen=True)
class AnswerSheet:
    """The units that are scored, studies first, then films.

    Attributes:
        studies: their ids without suffix; unit numbers 0 to len(studies) - 1.
        films: likewise, numbered on.
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
        """The units as a submission names them."""
        return (*map(study_id, self.studies), *map(film_id, self.films))

    def match(self, submission: Submission, name: str) -> MatchTable:
        """Matches a submission with the truth, after making sure it answers for exactly these units.

        Raises:
            BadInput: it does not; ``name`` is what the message calls it.
        """
        check(submission, self.studies, self.films, name)
        unit = {one: number for number, one in enumerate(self.ids)}
        rows = np.array([unit[one] for one in submission.ids], dtype=np.int64)
        found = submission.detections
        return metric.match(self.truth, Detections(rows[found.unit], found.label, found.confidence, found.box))


def answer_sheet(index: pd.DataFrame) -> AnswerSheet:
    """The answer sheet of a dataset's index.

    Args:
        index: a row a film with ``image``, ``study``, ``study_class``, ``boxes`` and, where known, ``patient`` (the
            study stands for the patient where not) and ``fold``.

    Raises:
        BadInput: films without labels, which nothing can be scored against.
    """
    unlabelled = index.loc[index["study_class"].isna(), "study"]
    if len(unlabelled):
        raise BadInput(
            f"Studies without a label: {unlabelled.nunique()} (the first is {unlabelled.iloc[0]}). Nothing can be "
            "scored against them; score a set of films whose label files lie beside them."
        )
    studies = index.drop_duplicates("study").sort_values("study")
    films = index.sort_values("image")
    boxes = [np.asarray(list(map(list, one)), dtype=np.float64).reshape(-1, 4) for one in films["boxes"]]
    both = pd.concat([studies, films])
    patient = both["patient"] if "patient" in index else both["study"]
    fold = both["fold"] if "fold" in index else pd.Series(-1, index=both.index)
    return AnswerSheet(
        studies=tuple(studies["study"]),
        films=tuple(films["image"]),
        truth=_truth([STUDY_CLASSES.index(one) for one in studies["study_class"]], boxes),
        patient=pd.factorize(patient, sort=True)[0].astype(np.int64),
        fold=np.asarray(fold, dtype=np.int64),
    )


def _truth(study_labels: Sequence[int], boxes: Sequence[Floats]) -> Truth:
    counts = np.array([len(one) for one in boxes], dtype=np.int64)
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
    """Matches film-level probabilities of none and opacity, the two classes of ``film2``.

    Args:
        has_box: (films,) whether the film shows an opacity.
        none: (films,) probability that it does not.
        opacity: (films,) probability that it does.
    """
    films = len(has_box)
    unit = np.arange(films)
    truth = Truth(films, unit, has_box.astype(np.int64), np.tile(UNIT_BOX, (films, 1)))
    found = Detections(
        unit=np.tile(unit, 2),
        label=np.repeat(np.arange(2), films),
        confidence=np.concatenate([none, opacity]),
        box=np.tile(UNIT_BOX, (2 * films, 1)),
    )
    return metric.match(truth, found, FILM_CLASSES)
