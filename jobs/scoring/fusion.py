"""Weighted boxes fusion (Solovyev et al. 2021, arXiv:1910.13302) that counts models, not boxes.

The reference package, ensemble-boxes, counts boxes: two boxes of the same model count as two models that agree, and
confidences can exceed 1. Here each model contributes only its strongest box to a cluster. Where no model has two boxes
in a cluster, both give the same result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit

from jobs.scoring.kernels import Floats, Ints, rank

BLOCK: Final = 32  # clusters compared at once


@dataclass(frozen=True)
class FilmBoxes:
    """Boxes of many films as flat arrays.

    Attributes:
        film: (n,) number of the film.
        box: (n, 4) ``xmin ymin xmax ymax``.
        confidence: (n,) between 0 and 1.
    """

    film: Ints
    box: Floats
    confidence: Floats


def fuse(models: Sequence[FilmBoxes], weights: Sequence[float], iou: float, floor: float) -> FilmBoxes:
    """Fuse the boxes of several detectors, film by film.

    In order of falling weighted confidence, each box joins the fused box with the highest IoU above ``iou``, else it
    starts a new one. A fused box is the mean of its models' boxes, weighted by weight times confidence. Its confidence
    is the weighted mean over all models, 0 for those without a box in it, so it never exceeds 1.

    Args:
        models: each detector's boxes of one class.
        weights: each detector's weight.
        iou: IoU above which two boxes belong together.
        floor: boxes of a lower confidence are left out.

    Returns:
        The fused boxes by film and, within a film, by falling confidence.
    """
    of_model = np.repeat(np.arange(len(models)), [len(boxes.film) for boxes in models])
    film = np.concatenate([np.zeros(0, dtype=np.int64), *(boxes.film for boxes in models)])
    box = np.concatenate([np.zeros((0, 4)), *(boxes.box for boxes in models)])
    confidence = np.concatenate([np.zeros(0), *(boxes.confidence for boxes in models)])
    weight = np.asarray(weights, dtype=np.float64)
    weighted = confidence * weight[of_model] if len(of_model) else confidence
    films = int(film.max(initial=-1)) + 1
    kept = np.flatnonzero((confidence >= floor) & (weighted > 0))
    ranked, starts = rank(film[kept], weighted[kept], films)
    order = kept[ranked]
    fused, sums, cluster_film = _fuse_sorted(box[order], weighted[order], of_model[order], starts, len(models), iou)
    total = sums / weight.sum() if len(sums) else sums
    ranked, _ = rank(cluster_film, total, films)
    return FilmBoxes(cluster_film[ranked], fused[ranked], np.minimum(total[ranked], 1.0))


@njit(cache=True, nogil=True)
def _fuse_sorted(
    box: Floats, weighted: Floats, of_model: Ints, starts: Ints, models: int, iou: float
) -> tuple[Floats, Floats, Ints]:
    """Cluster boxes that are sorted by film and falling weighted confidence; film f's begin at ``starts[f]``.

    Returns:
        For each cluster: the fused box (c, 4), the sum of its models' weighted confidences (c,), the film (c,).
    """
    boxes = len(box)
    # Clusters as columns, which the search reads many at once; beyond the last they overlap nothing.
    left, top = np.full(boxes + BLOCK, np.inf), np.full(boxes + BLOCK, np.inf)
    right, bottom = np.full(boxes + BLOCK, -np.inf), np.full(boxes + BLOCK, -np.inf)
    areas = np.zeros(boxes + BLOCK)
    moment = np.zeros((boxes, 4))
    sums = np.zeros(boxes)
    films = np.empty(boxes, dtype=np.int64)
    counted = np.zeros((boxes, models), dtype=np.bool_)
    excess = np.empty(BLOCK)
    count = 0
    # shared / (area + other - shared) > iou, without the division and a little too wide: what passes is divided.
    near, share = iou * (1 - 1e-12), 1 + iou
    for film in range(len(starts) - 1):
        first = count
        for i in range(starts[film], starts[film + 1]):
            x1, y1, x2, y2 = box[i, 0], box[i, 1], box[i, 2], box[i, 3]
            area = (x2 - x1) * (y2 - y1)
            best, best_iou = -1, iou
            for block in range(first, count, BLOCK):
                end = block + BLOCK
                boxes_here = (left[block:end], top[block:end], right[block:end], bottom[block:end], areas[block:end])
                if not _near(x1, y1, x2, y2, area, boxes_here, share, near, excess):
                    continue
                for c in range(block, min(end, count)):
                    if excess[c - block] < 0:
                        continue
                    width = min(x2, right[c]) - max(x1, left[c])
                    height = min(y2, bottom[c]) - max(y1, top[c])
                    if width > 0 and height > 0:
                        shared = width * height
                        overlap = shared / (area + areas[c] - shared)
                        if overlap > best_iou:
                            best, best_iou = c, overlap
            if best < 0:
                best = count
                count += 1
                films[best] = film
            elif counted[best, of_model[i]]:
                continue
            counted[best, of_model[i]] = True
            sums[best] += weighted[i]
            for k in range(4):
                moment[best, k] += weighted[i] * box[i, k]
            left[best], top[best] = moment[best, 0] / sums[best], moment[best, 1] / sums[best]
            right[best], bottom[best] = moment[best, 2] / sums[best], moment[best, 3] / sums[best]
            areas[best] = (right[best] - left[best]) * (bottom[best] - top[best])
    fused = np.stack((left[:count], top[:count], right[:count], bottom[:count]), axis=1)
    return fused, sums[:count], films[:count]


@njit(cache=True, nogil=True, inline="always")
def _near(
    x1: float, y1: float, x2: float, y2: float, area: float, boxes: tuple[Floats, ...], share: float, near: float,
    excess: Floats,
) -> int:  # fmt: skip
    """How many of BLOCK clusters overlap a box by about as much as it takes: those whose ``excess`` is not negative."""
    left, top, right, bottom, areas = boxes
    count = 0
    for c in range(BLOCK):
        width = (x2 if x2 < right[c] else right[c]) - (x1 if x1 > left[c] else left[c])
        height = (y2 if y2 < bottom[c] else bottom[c]) - (y1 if y1 > top[c] else top[c])
        shared = (width if width > 0 else 0.0) * (height if height > 0 else 0.0)
        excess[c] = shared * share - near * (area + areas[c])
        count += 1 if excess[c] >= 0 else 0
    return count
