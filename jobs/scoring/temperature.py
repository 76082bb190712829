"""Temperature scaling of study probabilities (Guo et al. 2017), fitted on labelled predictions."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from jobs.contract.names import CLASS_NUMBERS, STUDY_CLASSES
from jobs.scoring.combine import Combined
from jobs.scoring.evaluation_set import EvaluationSet
from jobs.scoring.metric import Floats, Ints
from jobs.scoring.statistics.calibration import LEAST, reliability, scaled
from jobs.scoring.submission import Submission, study_id

REACH: Final = 3.0  # the temperature lies between exp(-3) and exp(3)
GROUPS: Final = 5  # of patients, where a single fold is scored


@dataclass(frozen=True)
class Scaling:
    """What temperature scaling does to the probabilities of the study classes.

    Attributes:
        temperature: fitted on all studies out of fold; above 1 it makes predictions less certain.
        studies: number of studies that the errors below are of.
        error: expected calibration error of the most probable class, before and after.
        loss: mean negative log-likelihood of the true class, before and after.
    """

    temperature: float
    studies: int
    error: tuple[float, float]
    loss: tuple[float, float]


def study_probabilities(submission: Submission, evaluation_set: EvaluationSet) -> Floats | None:
    """Return the probabilities of the study classes, (studies, 4) with rows of sum 1; None where a class is missing."""
    row = {name: number for number, name in enumerate(submission.ids)}
    place = np.full(len(submission.ids), -1)
    place[[row[study_id(study)] for study in evaluation_set.studies]] = np.arange(len(evaluation_set.studies))
    found = submission.detections
    numbers = [CLASS_NUMBERS[name] for name in STUDY_CLASSES]
    kept = (place[found.unit] >= 0) & np.isin(found.label, numbers)
    table = np.full((len(evaluation_set.studies), len(numbers)), np.nan)
    table[place[found.unit[kept]], found.label[kept]] = found.confidence[kept]
    total = table.sum(axis=1, keepdims=True)
    return table / total if np.isfinite(table).all() and (total > 0).all() else None


def fit(probability: Floats, label: Ints) -> float:
    """Return the temperature of the least negative log-likelihood.

    Args:
        probability: (n, classes).
        label: (n,) the true classes.
    """
    from scipy.optimize import minimize_scalar  # slow to import

    found = minimize_scalar(
        lambda power: _loss(scaled(probability, float(np.exp(power))), label), bounds=(-REACH, REACH), method="bounded"
    )
    return float(np.exp(found.x))


def out_of_fold(probability: Floats, evaluation_set: EvaluationSet) -> tuple[float, Floats]:
    """Return the temperature fitted on all studies, and each study scaled with one fitted without its fold."""
    studies = len(evaluation_set.studies)
    label, group = evaluation_set.truth.label[:studies], evaluation_set.fold[:studies]
    if len(np.unique(group)) < 2:
        group = evaluation_set.patient[:studies] % GROUPS
    after = probability.copy()
    for own in np.unique(group):
        held_out = group == own
        if not held_out.all():
            after[held_out] = scaled(probability[held_out], fit(probability[~held_out], label[~held_out]))
    return fit(probability, label), after


def scaling(temperature: float, before: Floats, after: Floats, label: Ints) -> Scaling:
    """Return the errors of probabilities (n, classes) before and after scaling."""
    return Scaling(
        temperature,
        len(label),
        (_error(before, label), _error(after, label)),
        (_loss(before, label), _loss(after, label)),
    )


def out_of_fold_scaled(combined: Combined, evaluation_set: EvaluationSet) -> tuple[float, Combined]:
    """Return the temperature fitted on all studies, and predictions scaled as by :func:`out_of_fold`."""
    before = study_probabilities(combined.submission, evaluation_set)
    assert before is not None, "the experiment is checked: a model predicts studies, and all classes are written"
    temperature, after = out_of_fold(before, evaluation_set)
    submission = combined.submission
    row = {name: number for number, name in enumerate(submission.ids)}
    place = np.full(len(submission.ids), -1)
    place[[row[study_id(study)] for study in evaluation_set.studies]] = np.arange(len(evaluation_set.studies))
    found = submission.detections
    of_study = place[found.unit] >= 0
    confidence = found.confidence.copy()
    confidence[of_study] = after[place[found.unit[of_study]], found.label[of_study]]
    detections = replace(found, confidence=confidence)
    return temperature, replace(combined, submission=replace(submission, detections=detections))


def _loss(probability: Floats, label: Ints) -> float:
    return float(-np.log(np.maximum(probability[np.arange(len(label)), label], LEAST)).mean())


def _error(probability: Floats, label: Ints) -> float:
    curve = reliability(probability.max(axis=1), probability.argmax(axis=1) == label)
    return curve.error if curve else float("nan")
