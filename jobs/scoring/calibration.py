"""Whether confidences mean what they say, and which classes are taken for which."""

from dataclasses import dataclass

import numpy as np

from jobs.scoring.metric import Bools, Floats, Ints


@dataclass(frozen=True)
class Reliability:
    """A reliability curve over bins of equal width; empty bins are left out.

    Attributes:
        confidence: (b,) mean confidence in each bin.
        right: (b,) share of right predictions in each bin.
        count: (b,) predictions in each bin.
        error: the expected calibration error: mean distance of the two, weighted by count (Naeini et al. 2015).
    """

    confidence: Floats
    right: Floats
    count: Ints
    error: float


def reliability(confidence: Floats, right: Bools, bins: int = 10) -> Reliability | None:
    """How often predictions of each confidence are right; nothing without predictions.

    Args:
        confidence: (n,) between 0 and 1.
        right: (n,) whether each prediction is right.
        bins: bins of equal width.
    """
    if not len(confidence):
        return None
    bin_of = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    filled = np.flatnonzero(count)
    count = count[filled]
    said = np.bincount(bin_of, weights=confidence, minlength=bins)[filled] / count
    seen = np.bincount(bin_of, weights=right, minlength=bins)[filled] / count
    return Reliability(said, seen, count, float(np.abs(said - seen) @ count / count.sum()))


def confusion(truth: Ints, said: Ints, classes: int) -> Ints:
    """Counts (classes, classes): rows are the truth, columns what was said."""
    counts: Ints = np.bincount(truth * classes + said, minlength=classes * classes).reshape(classes, classes)
    return counts
