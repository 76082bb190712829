"""The uncertainty of scores: patient-level bootstrap, outlying folds, differences beyond noise.

Patients are resampled, not films: films of one patient resemble each other, and resampling films as if independent
would give intervals that are too narrow (Efron & Tibshirani 1993, chapter 8). A resample only re-weights the match
table; no box is matched again.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from jobs.scoring.metric import Floats, Ints, MatchTable, average_precision, average_precisions, mean_ap

LEVEL = 0.95
# Family-wise error rate of calling any fold outlying (Bonferroni).
FOLD_ALPHA = 0.05
# Numbers in memory at once while resampling: small sets take one sweep, large ones stay within about 10 MB.
AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Interval:
    """A percentile interval of a score, and its bootstrap standard error."""

    low: float
    high: float
    error: float


@dataclass(frozen=True)
class FoldComparison:
    """How a fold compares with the others.

    Attributes:
        z: difference from the mean of the other folds, in standard errors of that difference.
        outlying: whether chance alone gives a difference this large in fewer than 5 % of runs, over all folds.
    """

    z: float
    outlying: bool


@dataclass(frozen=True)
class PairedDifference:
    """The difference, second minus first, of two sets of predictions for the same patients.

    Attributes:
        value: the difference of the scores.
        interval: its percentile interval over resampled patients.
        p: two-sided bootstrap p-value of the hypothesis that there is no difference.
        beyond_noise: whether the interval excludes 0.
    """

    value: float
    interval: Interval
    p: float
    beyond_noise: bool


def bootstrap(table: MatchTable, patient: Ints, resamples: int, seed: int, among: Ints | None = None) -> Floats:
    """Return the average precisions in resamples of patients, with replacement.

    Args:
        table: the match table over units.
        patient: (units,) each unit's patient, numbered from 0.
        resamples: how many resamples.
        seed: the same seed gives the same resamples, also for another table over the same patients.
        among: the patients to resample, e.g. those of a fold; all if not given.

    Returns:
        (resamples, classes); NaN where a resample has no ground truth of a class.
    """
    grouped = table.grouped(patient)
    patients = int(patient.max()) + 1
    pool = np.arange(patients) if among is None else among
    rng = np.random.default_rng(seed)
    scores = np.empty((resamples, len(table.classes)))
    detections = max((len(ranked.index) for ranked in table.ranked), default=0)
    rows = max(1, AT_ONCE // max(detections, patients, 1))
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        chosen = pool[rng.integers(0, len(pool), (count, len(pool)))]
        flat = (chosen + patients * np.arange(count)[:, None]).ravel()
        weights = np.bincount(flat, minlength=count * patients).reshape(count, patients).astype(np.float64)
        for column, ranked in enumerate(grouped.ranked):
            scores[start : start + count, column] = average_precision(ranked, weights)
    return scores


def interval(samples: Floats) -> Interval | None:
    """Return the percentile interval of (n,) bootstrap scores; None where fewer than two of them are finite."""
    known = samples[np.isfinite(samples)]
    if len(known) < 2:
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), float(known.std(ddof=1)))


def mean_over_classes(samples: Floats) -> Floats:
    """Return each resample's mean over the classes that have ground truth: (n, classes) to (n,)."""
    known = np.isfinite(samples)
    total = np.where(known, samples, 0.0).sum(axis=1)
    count = known.sum(axis=1)
    means: Floats = np.divide(total, count, out=np.full(len(samples), np.nan), where=count > 0)
    return means


def compare_folds(scores: list[float], errors: list[float]) -> list[FoldComparison]:
    """Find folds that differ from the others by more than the sampling of their patients explains.

    Each fold is compared with the mean of the others. Folds share no patient, so the variance of that difference is the
    sum of their bootstrap variances. Unlike the spread of a handful of fold scores, this works for as few as two folds.
    An outlying fold has another cause: a leak, a failed training, different films.

    Args:
        scores: the folds' scores, at least two.
        errors: their bootstrap standard errors.
    """
    limit = NormalDist().inv_cdf(1 - FOLD_ALPHA / (2 * len(scores)))
    values, variances = np.array(scores), np.square(errors)
    # Near 0 and 1 a bootstrap underestimates: a fold with a perfect score would have no variance at all.
    variances = np.maximum(variances, variances.mean())
    comparisons = []
    for fold in range(len(scores)):
        rest = np.arange(len(scores)) != fold
        spread = np.sqrt(variances[fold] + variances[rest].sum() / rest.sum() ** 2)
        distance = values[fold] - values[rest].mean()
        z = float(distance / spread) if spread > 0 else float(np.sign(distance)) * float("inf") if distance else 0.0
        comparisons.append(FoldComparison(z, abs(z) > limit))
    return comparisons


def difference(first: MatchTable, second: MatchTable, patient: Ints, resamples: int, seed: int) -> PairedDifference:
    """Return the difference of two sets of predictions for the same patients.

    Both are scored on the same resamples of patients, so what is difficult for both cancels out.

    Raises:
        ValueError: the tables do not cover the same units and classes.
    """
    if first.classes != second.classes or any(
        not np.array_equal(a.truths, b.truths) for a, b in zip(first.ranked, second.ranked, strict=True)
    ):
        raise ValueError("predictions can only be compared on the same films, studies and classes")
    return paired(
        mean_ap(average_precisions(second)) - mean_ap(average_precisions(first)),
        mean_over_classes(bootstrap(first, patient, resamples, seed)),
        mean_over_classes(bootstrap(second, patient, resamples, seed)),
    )


def paired(value: float, first: Floats, second: Floats) -> PairedDifference:
    """Return the difference of two scores, given both in the same resamples.

    Args:
        value: second minus first, on all patients.
        first: (resamples,) the first score.
        second: (resamples,) the second score.

    Raises:
        ValueError: fewer than two resamples have both scores.
    """
    differences = second - first
    around = interval(differences)
    if around is None:
        raise ValueError("a difference needs at least two resamples with ground truth")
    differences = differences[np.isfinite(differences)]
    below, above = np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0)
    p = min(1.0, 2 * (min(below, above) + 1) / (len(differences) + 1))
    return PairedDifference(value, around, p, not around.low <= 0 <= around.high)
