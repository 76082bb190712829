"""PASCAL VOC 2010 mean average precision at IoU > 0.5, vectorised over flat arrays.

The matching follows the VOC devkit (``VOCevaldet.m``): detections of a class are ranked over all units by falling
confidence, ties by input order; each goes to the ground truth of its unit that it overlaps most (the first of equals)
and is correct if that overlap is above one half and no higher-ranked detection has claimed the same ground truth.
Unlike in the devkit, boxes are continuous: no pixel is added to widths.

A *unit* is one row of a submission: a study or a film. Scores of a subset (a fold, a bootstrap resample) are computed
by re-weighting one ``MatchTable``: matching happens within a unit, so it does not depend on the weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jobs.contract.names import ALL_CLASSES
from jobs.scoring import kernels

ENGINE: Final = "cxrfold: PASCAL VOC 2010, all recall points, IoU > 0.5, continuous boxes"

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Truth:
    """Ground truth as flat arrays.

    Attributes:
        units: how many units are scored; unit numbers lie in [0, units).
        unit: (n,) the unit each box belongs to.
        label: (n,) index into the classes.
        box: (n, 4) ``xmin ymin xmax ymax``.
    """

    units: int
    unit: Ints
    label: Ints
    box: Floats


@dataclass(frozen=True)
class Detections:
    """Predictions as flat arrays, in input order: the row in the file, then the position in the row.

    Attributes:
        unit: (n,) the unit each box belongs to.
        label: (n,) index into the classes.
        confidence: (n,) the detections are ranked by it.
        box: (n, 4) ``xmin ymin xmax ymax``.
    """

    unit: Ints
    label: Ints
    confidence: Floats
    box: Floats


@dataclass(frozen=True)
class RankedClass:
    """One class after matching.

    Attributes:
        index: (d,) positions in the input, by falling confidence.
        unit: (d,) their units.
        hits: (h,) ascending ranks of the correct detections: indices into ``index``.
        truths: (units,) number of ground truths in each unit.
    """

    index: Ints
    unit: Ints
    hits: Ints
    truths: Ints


@dataclass(frozen=True)
class MatchTable:
    """Every class after matching: all scores, of folds and resamples too, are computed from it."""

    classes: tuple[str, ...]
    ranked: tuple[RankedClass, ...]

    def grouped(self, group: Ints) -> "MatchTable":
        """Return the table with groups (patients, folds) in place of units, so that weights are per group.

        Args:
            group: (units,) the group of each unit, numbered from 0.
        """
        count = int(group.max()) + 1 if len(group) else 0
        return replace(
            self,
            ranked=tuple(
                replace(
                    ranked,
                    unit=group[ranked.unit],
                    truths=np.bincount(group, weights=ranked.truths, minlength=count).astype(np.int64),
                )
                for ranked in self.ranked
            ),
        )


def match(truth: Truth, detections: Detections, classes: Sequence[str] = ALL_CLASSES) -> MatchTable:
    """Match detections with ground truth.

    Raises:
        ValueError: a confidence or a coordinate is not a finite number.
    """
    if not (np.isfinite(detections.confidence).all() and np.isfinite(detections.box).all()):
        raise ValueError("confidences and boxes must be finite numbers")
    key, truth_key = (one.unit * len(classes) + one.label for one in (detections, truth))
    claim = kernels.claims(truth_key, _flat(truth.box), key, _flat(detections.box), truth.units * len(classes))
    order, starts = kernels.rank(detections.label, _flat(detections.confidence), len(classes))
    right = kernels.hits(claim, order, len(truth.unit))
    counts = np.bincount(truth_key, minlength=truth.units * len(classes)).reshape(truth.units, len(classes))
    ranked = []
    for label in range(len(classes)):
        places = slice(starts[label], starts[label + 1])
        index = order[places]
        ranked.append(RankedClass(index, detections.unit[index], np.flatnonzero(right[places]), counts[:, label]))
    return MatchTable(tuple(classes), tuple(ranked))


def falling(values: Floats) -> Ints:
    """Positions of ``values`` from the largest to the smallest, equal ones in input order."""
    return kernels.rank(np.zeros(len(values), np.int64), _flat(values), 1)[0]


def _flat(values: Floats) -> Floats:
    return np.ascontiguousarray(values, np.float64)


def average_precision(ranked: RankedClass, weights: Floats | None = None) -> Floats:
    """Return the area under the monotone precision envelope over all recall points.

    A weight is the number of copies of a unit. Copies of a detection are neighbours in the ranking, and precision rises
    within such a block, so only its end matters to the envelope: the weighted sums below are exact.

    Args:
        ranked: the class after matching.
        weights: (r, units) how often each unit counts, in each of r resamples; once, in a single one, if not given.

    Returns:
        (r,) the average precision in each resample; NaN where no ground truth has a weight.
    """
    truths = ranked.truths.astype(np.float64)
    total = truths.sum(keepdims=True) if weights is None else weights @ truths
    gained, precision = _curve(ranked, weights)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    area: Floats = np.einsum("rh,rh->r", gained, envelope)
    aps: Floats = np.divide(area, total, out=np.full(len(total), np.nan), where=total > 0)
    return aps


def precision_recall(ranked: RankedClass) -> tuple[Floats, Floats]:
    """Return recall and raw precision at every correct detection, two (h,) arrays in order of rank."""
    gained, precision = _curve(ranked)
    return np.cumsum(gained[0]) / max(int(ranked.truths.sum()), 1), precision[0]


def _curve(ranked: RankedClass, weights: Floats | None = None) -> tuple[Floats, Floats]:
    """Return the recalled truths and the precision at every correct detection, two (r, h) arrays in order of rank."""
    hits = ranked.hits
    if weights is None:  # each unit once: a rank is the number of detections
        return np.ones((1, len(hits))), (np.arange(1, len(hits) + 1) / (hits + 1))[None]
    # Detections ranked below the last hit change nothing.
    weight = weights[:, ranked.unit[: hits[-1] + 1 if len(hits) else 0]]
    gained = weight[:, hits]
    retrieved = np.cumsum(weight, axis=1)[:, hits]
    correct = np.cumsum(gained, axis=1)
    return gained, np.divide(correct, retrieved, out=np.zeros_like(correct), where=retrieved > 0)


def average_precisions(table: MatchTable, weights: Floats | None = None) -> dict[str, float]:
    """Return the average precision of every class; NaN for a class without ground truth.

    Args:
        table: all classes after matching.
        weights: (units,) how often each unit counts; once if not given.
    """
    return {
        name: float(average_precision(ranked, None if weights is None else weights[None])[0])
        for name, ranked in zip(table.classes, table.ranked, strict=True)
    }


def mean_ap(aps: dict[str, float], classes: Sequence[str] | None = None) -> float:
    """Return the mean over the classes that have ground truth; NaN where none has. ``classes`` defaults to all."""
    known = [aps[name] for name in (classes or aps) if not np.isnan(aps[name])]
    return float(np.mean(known)) if known else float("nan")


def left_out(aps: dict[str, float]) -> list[str]:
    """Return the classes without ground truth, which every mean leaves out."""
    return [name for name, ap in aps.items() if np.isnan(ap)]
