"""Calibration of confidences, scaling of probabilities, and the confusion matrix."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from jobs.scoring.metric import Bools, Floats, Ints

LEAST: Final = 1e-7  # a probability of 0 has no logarithm


@dataclass(frozen=True)
class Reliability:
    """A reliability curve over bins of equal width, without the empty ones.

    Attributes:
        confidence: (b,) mean confidence in each bin.
        accuracy: (b,) fraction of correct predictions in each bin.
        count: (b,) predictions in each bin.
        error: expected calibration error: mean of abs(confidence - accuracy), weighted by count (Naeini et al. 2015).
    """

    confidence: Floats
    accuracy: Floats
    count: Ints
    error: float


def reliability(confidence: Floats, correct: Bools, bins: int = 10) -> Reliability | None:
    """Return the reliability curve; None without predictions.

    Args:
        confidence: (n,) between 0 and 1.
        correct: (n,) whether each prediction is correct.
        bins: how many bins of equal width.
    """
    if not len(confidence):
        return None
    bin_of = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    filled = np.flatnonzero(count)
    count = count[filled]
    mean = np.bincount(bin_of, weights=confidence, minlength=bins)[filled] / count
    accuracy = np.bincount(bin_of, weights=correct, minlength=bins)[filled] / count
    return Reliability(mean, accuracy, count, float(np.abs(mean - accuracy) @ count / count.sum()))


def scaled(probability: Floats, temperature: float) -> Floats:
    """Return probabilities (n, classes) at a temperature: the softmax of their logarithms divided by it."""
    logit = np.log(np.maximum(probability, LEAST)) / temperature
    share = np.exp(logit - logit.max(axis=1, keepdims=True))
    return np.asarray(share / share.sum(axis=1, keepdims=True))


def confusion(truth: Ints, predicted: Ints, classes: int) -> Ints:
    """Return the confusion matrix, counts (classes, classes): rows are true classes, columns predicted ones."""
    counts: Ints = np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    return counts
