"""PASCAL VOC 2010 mean average precision at IoU > 0.5, vectorised over flat arrays.

The matching follows the VOC devkit (``VOCevaldet.m``): detections of a class are ranked over all units by falling
confidence, ties by input order; each goes to the ground truth of its unit that it overlaps most (the first of equals)
and is right if that overlap is above one half and nobody ranked higher has claimed the same ground truth. Unlike the
devkit, boxes are continuous: no pixel is added to widths.

A *unit* is one row of a submission: a study or a film. Everything that depends on which units count (folds, bootstrap
resamples, a patient left out) is a re-weighting of one ``MatchTable``: matching happens inside a unit, so it never
changes with the weights.
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
        confidence: (n,) what the ranking goes by.
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
        hits: (h,) ranks, rising, of the right ones: indices into ``index``.
        truths: (units,) ground truths in each unit.
    """

    index: Ints
    unit: Ints
    hits: Ints
    truths: Ints


@dataclass(frozen=True)
class MatchTable:
    """Every class after matching; what all scores, folds and resamples are computed from."""

    classes: tuple[str, ...]
    ranked: tuple[RankedClass, ...]

    def grouped(self, group: Ints) -> "MatchTable":
        """The same table with groups (patients, folds) for units, so that weights can be given a group.

        Args:
            group: (units,) the group of each unit, numbered from 0.
        """
        count = int(group.max()) + 1 if len(group) else 0
        return replace(
            self,
            ranked=tuple(
                replace(
                    one,
                    unit=group[one.unit],
                    truths=np.bincount(group, weights=one.truths, minlength=count).astype(np.int64),
                )
                for one in self.ranked
            ),
        )


def match(truth: Truth, detections: Detections, classes: Sequence[str] = ALL_CLASSES) -> MatchTable:
    """Matches detections with ground truth.

    Raises:
        ValueError: a confidence or a coordinate is not a finite number.
    """
    if not (np.isfinite(detections.confidence).all() and np.isfinite(detections.box).all()):
        raise ValueError("confidences and boxes must be finite numbers")
    key, truth_key = (one.unit * len(classes) + one.label for one in (detections, truth))
    claim = kernels.claims(truth_key, _flat(truth.box), key, _flat(detections.box), truth.units * len(classes))
    order, starts = kernels.rank(detections.label, detections.confidence, len(classes))
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
    return kernels.rank(np.zeros(len(values), np.int64), values, 1)[0]


def _flat(boxes: Floats) -> Floats:
    return np.ascontiguousarray(boxes, np.float64)


def average_precision(ranked: RankedClass, weights: Floats) -> Floats:
    """Area under the monotone precision envelope over all recall points; NaN where no ground truth counts.

    A weight says how many copies of a unit there are. Copies of a detection stand next to each other in the ranking,
    and inside such a block precision rises, so the block's end alone decides: the weighted sums below are exact.

    Args:
        ranked: the class after matching.
        weights: (r, units) how often each unit counts, in each of r resamples.

    Returns:
        (r,) the average precision in each resample.
    """
    total = weights @ ranked.truths.astype(np.float64)
    gained, precision = _curve(ranked, weights)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    area: Floats = np.einsum("rh,rh->r", gained, envelope)
    aps: Floats = np.divide(area, total, out=np.full(len(weights), np.nan), where=total > 0)
    return aps


def precision_recall(ranked: RankedClass) -> tuple[Floats, Floats]:
    """Recall and raw precision at every right detection, two (h,) arrays in order of rank."""
    gained, precision = _curve(ranked, np.ones((1, len(ranked.truths))))
    return np.cumsum(gained[0]) / max(int(ranked.truths.sum()), 1), precision[0]


def _curve(ranked: RankedClass, weights: Floats) -> tuple[Floats, Floats]:
    """At every right detection, in order of rank: the truths it finds, and the precision there; two (r, h) arrays."""
    hits = ranked.hits
    # What is ranked below the last hit changes nothing.
    weight = weights[:, ranked.unit[: hits[-1] + 1 if len(hits) else 0]]
    gained = weight[:, hits]
    retrieved = np.cumsum(weight, axis=1)[:, hits]
    found = np.cumsum(gained, axis=1)
    return gained, np.divide(found, retrieved, out=np.zeros_like(found), where=retrieved > 0)


def average_precisions(table: MatchTable, weights: Floats | None = None) -> dict[str, float]:
    """Average precision of every class; NaN for a class without ground truth.

    Args:
        table: all classes after matching.
        weights: (units,) how often each unit counts; once each where not given.
    """
    return {
        name: float(average_precision(one, np.ones((1, len(one.truths))) if weights is None else weights[None])[0])
        for name, one in zip(table.classes, table.ranked, strict=True)
    }


def mean_ap(aps: dict[str, float], classes: Sequence[str] | None = None) -> float:
    """Mean over the classes that have ground truth; NaN where none has. ``classes``: all of ``aps`` if not given."""
    known = [aps[name] for name in (classes or aps) if not np.isnan(aps[name])]
    return float(np.mean(known)) if known else float("nan")


def left_out(aps: dict[str, float]) -> list[str]:
    """The classes that have no ground truth and therefore no part in a mean."""
    return [name for name, ap in aps.items() if np.isnan(ap)]
