"""What a run's nets answer about each film: the ensemble's figures, with their spread over folds."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from jobs.contract.experiment import Experiment
from jobs.contract.names import ALL_CLASSES, STUDY_CLASSES
from jobs.scoring.combine import combine, voters_of
from jobs.scoring.submission import Submission, film_id, study_id

Rows = dict[str, list[tuple[str, float, tuple[float, ...]]]]  # row id → class, confidence, box
Tables = Mapping[str, Mapping[int, pd.DataFrame]]  # model → fold → table


@dataclass(frozen=True)
class Spread:
    """The ensemble's probability, with the lowest and the highest of one fold's nets."""

    probability: float
    low: float
    high: float


@dataclass(frozen=True)
class Box:
    """An opacity, in pixels of the film."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float
    confidence: float


@dataclass(frozen=True)
class FilmAnswer:
    """The ensemble's answer about one film.

    Attributes:
        film: the file.
        study: its study; the classes are the study's, the mean over those of its films that were given.
        films_of_study: number of those.
        width: pixels.
        height: pixels.
        classes: study class → probability; None if no model of the run predicts study classes.
        none: the probability that the film shows no opacity.
        boxes: the fused boxes, by falling confidence; None if the run has no detector.
    """

    film: str
    study: str
    films_of_study: int
    width: int
    height: int
    classes: dict[str, Spread] | None
    none: Spread
    boxes: list[Box] | None


def answers(index: pd.DataFrame, experiment: Experiment, tables: Tables, folds: Sequence[int]) -> list[FilmAnswer]:
    """Combine the nets' tables as the ensemble does, with all folds and with each fold alone.

    The numbers are those of a submission for the same films. ``labels: top`` and ``fusion.repeat``, which serve only
    the competition's metric, are not applied.

    Raises:
        BadInput: every source of ``none`` has weight 0.
    """
    whole = _rows(index, experiment, {model: list(of_fold.values()) for model, of_fold in tables.items()})
    alone = [_rows(index, experiment, {model: [of_fold[fold]] for model, of_fold in tables.items()}) for fold in folds]
    voters = experiment.voters.values()
    has_studies, has_boxes = (
        any(model.answers_studies for model in voters), any(model.answers_boxes for model in voters)
    )  # fmt: skip
    counts = index["study"].value_counts()
    return [
        FilmAnswer(
            film=image,
            study=study,
            films_of_study=int(counts[study]),
            width=int(width),
            height=int(height),
            classes=_classes(study_id(study), whole, alone) if has_studies else None,
            none=_spread(film_id(image), "none", whole, alone),
            boxes=_boxes(whole[film_id(image)]) if has_boxes else None,
        )
        for image, study, width, height in zip(
            index["image"], index["study"], index["width"], index["height"], strict=True
        )
    ]


def _rows(index: pd.DataFrame, experiment: Experiment, tables: Mapping[str, Sequence[pd.DataFrame]]) -> Rows:
    ensemble = experiment.ensemble
    plain = ensemble.model_copy(update={"labels": "all", "fusion": ensemble.fusion.model_copy(update={"repeat": 1})})
    return _by_row(combine(index, *voters_of(experiment, tables), plain).submission)


def _by_row(submission: Submission) -> Rows:
    rows: Rows = defaultdict(list)
    found = submission.detections
    for unit, label, confidence, box in zip(
        found.unit.tolist(), found.label.tolist(), found.confidence.tolist(), found.box.tolist(), strict=True
    ):
        rows[submission.ids[unit]].append((ALL_CLASSES[label], confidence, tuple(box)))
    return rows


def _boxes(of_film: Sequence[tuple[str, float, tuple[float, ...]]]) -> list[Box]:
    return [
        Box(xmin, ymin, xmax, ymax, confidence)
        for name, confidence, (xmin, ymin, xmax, ymax) in of_film
        if name == "opacity"
    ]


def _classes(row: str, whole: Rows, alone: Sequence[Rows]) -> dict[str, Spread]:
    return {name: _spread(row, name, whole, alone) for name in STUDY_CLASSES}


def _spread(row: str, name: str, whole: Rows, alone: Sequence[Rows]) -> Spread:
    together, *single = (next(value for found, value, _ in rows[row] if found == name) for rows in (whole, *alone))
    return Spread(together, min(single), max(single))
