"""How sure a score is: patient-level bootstrap, folds that stand out, differences beyond noise.

Patients, not films, are drawn: films of one patient resemble each other, and drawing them apart would promise more than
the data hold (Efron & Tibshirani 1993, chapter 8). A resample re-weights the match table and matches nothing anew.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from jobs.scoring.metric import Floats, Ints, MatchTable, average_precision, average_precisions, mean_ap

LEVEL = 0.95
# Folds are called outlying at a chance of 5 % over all of them together (Bonferroni).
FOLD_ALPHA = 0.05
# Numbers held at once while resampling: small sets go in one sweep, large ones stay within some 10 MB.
AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Interval:
    """A percentile interval around a score, and the standard error behind it."""

    low: float
    high: float
    error: float


@dataclass(frozen=True)
class FoldVerdict:
    """How a fold compares with the others.

    Attributes:
        z: distance from the mean of the other folds in standard errors of that distance.
        outlying: whether so large a distance comes by chance in fewer than 5 % of runs, over all folds together.
    """

    z: float
    outlying: bool


@dataclass(frozen=True)
class Difference:
    """The difference second - first of two sets of predictions for the same patients.

    Attributes:
        value: the difference of the scores.
        interval: its percentile interval, drawn over patients.
        p: two-sided bootstrap probability of a difference at least this far on the other side of nothing.
        beyond_noise: whether the interval leaves out 0.
    """

    value: float
    interval: Interval
    p: float
    beyond_noise: bool


def bootstrap(table: MatchTable, patient: Ints, resamples: int, seed: int, among: Ints | None = None) -> Floats:
    """Average precisions in resamples of patients drawn with replacement.

    Args:
        table: the match table over units.
        patient: (units,) each unit's patient, numbered from 0.
        resamples: how many to draw.
        seed: same seed, same resamples; two tables over the same patients are drawn alike.
        among: the patients to draw from, e.g. those of a fold; all where not given.

    Returns:
        (resamples, classes); NaN where a resample holds no ground truth of a class.
    """
    grouped = table.grouped(patient)
    patients = int(patient.max()) + 1
    pool = np.arange(patients) if among is None else among
    rng = np.random.default_rng(seed)
    scores = np.empty((resamples, len(table.classes)))
    detections = max((len(one.index) for one in table.ranked), default=0)
    rows = max(1, AT_ONCE // max(detections, patients, 1))
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn = pool[rng.integers(0, len(pool), (count, len(pool)))]
        flat = (drawn + patients * np.arange(count)[:, None]).ravel()
        weights = np.bincount(flat, minlength=count * patients).reshape(count, patients).astype(np.float64)
        for column, one in enumerate(grouped.ranked):
            scores[start : start + count, column] = average_precision(one, weights)
    return scores


def interval(samples: Floats) -> Interval | None:
    """Percentile interval of (n,) bootstrap scores; nothing where fewer than two of them are numbers."""
    known = samples[np.isfinite(samples)]
    if len(known) < 2:
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), float(known.std(ddof=1)))


def mean_over_classes(samples: Floats) -> Floats:
    """Mean over the classes a resample holds: (n, classes) to (n,)."""
    known = np.isfinite(samples)
    total = np.where(known, samples, 0.0).sum(axis=1)
    count = known.sum(axis=1)
    means: Floats = np.divide(total, count, out=np.full(len(samples), np.nan), where=count > 0)
    return means


def judge_folds(scores: list[float], errors: list[float]) -> list[FoldVerdict]:
    """Which folds stand out from the others by more than the choice of their patients explains.

    Each fold is compared with the mean of the others. Folds share no patient, so the variance of that distance is the
    sum of the parts' bootstrap variances, and the rule works for as few as two folds: the spread among five numbers
    says little, the patients behind each say much. A fold that stands out has another cause: a leak, a training
    that failed, films of another kind.

    Args:
        scores: the folds' scores, at least two.
        errors: their bootstrap standard errors.
    """
    limit = NormalDist().inv_cdf(1 - FOLD_ALPHA / (2 * len(scores)))
    values, variances = np.array(scores), np.square(errors)
    # Near 0 and 1 a bootstrap knows too little: a fold of perfect answers would seem to be sure of them.
    variances = np.maximum(variances, variances.mean())
    verdicts = []
    for fold in range(len(scores)):
        rest = np.arange(len(scores)) != fold
        spread = np.sqrt(variances[fold] + variances[rest].sum() / rest.sum() ** 2)
        distance = values[fold] - values[rest].mean()
        z = float(distance / spread) if spread > 0 else float(np.sign(distance)) * float("inf") if distance else 0.0
        verdicts.append(FoldVerdict(z, abs(z) > limit))
    return verdicts


def difference(first: MatchTable, second: MatchTable, patient: Ints, resamples: int, seed: int) -> Difference:
    """Whether the second set of predictions scores otherwise than the first by more than noise.

    Noise is what another choice of patients would do. Both are scored on the same resamples, so what is hard for both
    cancels out.

    Raises:
        ValueError: the tables do not cover the same units and classes.
    """
    if first.classes != second.classes or any(
        not np.array_equal(a.truths, b.truths) for a, b in zip(first.ranked, second.ranked, strict=True)
    ):
        raise ValueError("only predictions for the same films, studies and classes can be compared")
    return paired(
        mean_ap(average_precisions(second)) - mean_ap(average_precisions(first)),
        mean_over_classes(bootstrap(first, patient, resamples, seed)),
        mean_over_classes(bootstrap(second, patient, resamples, seed)),
    )


def paired(value: float, first: Floats, second: Floats) -> Difference:
    """The difference of two scores, given both in the same resamples.

    Args:
        value: second - first on all patients.
        first: (resamples,) the first score.
        second: (resamples,) the second, in the same resamples.

    Raises:
        ValueError: fewer than two resamples have both.
    """
    drawn = second - first
    around = interval(drawn)
    if around is None:
        raise ValueError("a difference needs at least two resamples with ground truth")
    drawn = drawn[np.isfinite(drawn)]
    below, above = np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0)
    p = min(1.0, 2 * (min(below, above) + 1) / (len(drawn) + 1))
    return Difference(value, around, p, not around.low <= 0 <= around.high)
