"""Which labels out-of-fold predictions doubt, and about how many are wrong: confident learning.

C. Northcutt, L. Jiang, I. Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021. An example
counts as of another class where that class is at least as probable as it is, on average, for the examples labelled so.
The library of the authors is under the AGPL, which this code is not; the few lines that are needed are here.
"""

from dataclasses import dataclass

import numpy as np

from jobs.scoring.metric import Bools, Floats, Ints


@dataclass(frozen=True)
class DoubtedClasses:
    """What predictions say of class labels.

    Attributes:
        doubt: (n,) probability of the most probable other class less that of the label; above 0 the label is not the
            most probable class.
        suggested: (n,) the most probable other class.
        confident: (n,) whether the example counts as of another class.
        wrong: estimated number of wrong labels.
    """

    doubt: Floats
    suggested: Ints
    confident: Bools
    wrong: float


def doubted_classes(probability: Floats, label: Ints) -> DoubtedClasses:
    """Return which labels the probabilities of nets that have not seen them doubt.

    Args:
        probability: (n, classes).
        label: (n,) the given labels.
    """
    count, classes = probability.shape
    given = np.bincount(label, minlength=classes)
    thresholds = np.full(classes, np.inf)  # of a class that no example has, nobody can say what it looks like
    for number in np.flatnonzero(given):
        thresholds[number] = probability[label == number, number].mean()
    above = np.where(probability >= thresholds, probability, -1.0)
    best = above.argmax(axis=1)
    counted = above.max(axis=1) >= 0
    joint = np.zeros((classes, classes))
    np.add.at(joint, (label[counted], best[counted]), 1)
    rows = joint.sum(axis=1)
    # Each row is scaled to the number of its labels: examples that are uncertain err like the others of their label.
    scale = np.divide(given, rows, out=np.zeros(classes), where=rows > 0)
    wrong = float(((joint.sum(axis=1) - joint.diagonal()) * scale).sum())
    others = probability.copy()
    others[np.arange(count), label] = -1.0
    doubt = others.max(axis=1) - probability[np.arange(count), label]
    return DoubtedClasses(doubt, others.argmax(axis=1), counted & (best != label), wrong)


@dataclass(frozen=True)
class DoubtedBoxes:
    """What a detector says of boxes.

    Attributes:
        missing: (p,) predicted boxes that may be missing among the labels.
        superfluous: (b,) labelled boxes that may show nothing.
        missing_count: estimated number of missing boxes: those that are less sure, as labelled ones are, included.
    """

    missing: Bools
    superfluous: Bools
    missing_count: float


def doubted_boxes(confidence: Floats, correct: Bools, found: Floats) -> DoubtedBoxes:
    """Return which boxes a detector that has not seen them doubts, by the same rule with two classes.

    Args:
        confidence: (p,) of each predicted box.
        correct: (p,) whether it was matched with a labelled box.
        found: (b,) confidence of the prediction that was matched with each labelled box; 0 where none was.
    """
    met = found[found > 0]  # not all matched predictions: a box has many weak ones beside its best
    box = float(met.mean()) if len(met) else np.inf
    nothing = float(confidence[~correct].mean()) if not correct.all() else 0.0
    missing = ~correct & (confidence >= box)
    sure = float((met >= box).mean()) if len(met) else 1.0
    return DoubtedBoxes(missing, found <= min(nothing, box), float(missing.sum()) / sure)
