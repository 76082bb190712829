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
from numpy.typing import NDArray

from jobs.scoring.kernels import Floats, Ints, rank

Corners = NDArray[np.float32]

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
    weighted = np.where(confidence >= floor, confidence * weight[of_model], 0.0) if len(of_model) else confidence
    films = int(film.max(initial=-1)) + 1
    order, starts = rank(film, weighted, films)
    fused, sums, cluster_film = _fuse_sorted(box, weighted, of_model, order, starts, len(models), iou)
    total = sums / weight.sum() if len(sums) else sums
    ranked, _ = rank(cluster_film, total, films)
    return FilmBoxes(cluster_film[ranked], fused[ranked], np.minimum(total[ranked], 1.0))


@njit(cache=True, nogil=True)
def _fuse_sorted(
    box: Floats, weighted: Floats, of_model: Ints, order: Ints, starts: Ints, models: int, iou: float
) -> tuple[Floats, Floats, Ints]:
    """Cluster boxes, film by film; those of weight 0 are left out.

    Args:
        box: (n, 4) corners.
        weighted: (n,) weighted confidences.
        of_model: (n,) number of the model.
        order: (n,) the boxes by film and falling weighted confidence.
        starts: (films + 1,) where each film begins in ``order``.
        models: number of models.
        iou: IoU above which two boxes belong together.

    Returns:
        For each cluster: the fused box (c, 4), the sum of its models' weighted confidences (c,), the film (c,).
    """
    boxes = len(box)
    fused, areas = np.empty((boxes, 4)), np.empty(boxes)
    moment, sums = np.zeros((boxes, 4)), np.zeros(boxes)
    films = np.empty(boxes, np.int64)
    counted = np.zeros((boxes, models), np.bool_)
    # Corners of clusters as rounded columns, of which the search reads many at once; beyond the last they are nowhere.
    left, top = np.full(boxes + BLOCK, np.inf, np.float32), np.full(boxes + BLOCK, np.inf, np.float32)
    close = np.empty(BLOCK, np.bool_)
    count = 0
    for film in range(len(starts) - 1):
        first = count
        for i in order[starts[film] : starts[film + 1]]:
            if weighted[i] <= 0:
                break
            x1, y1, x2, y2 = box[i, 0], box[i, 1], box[i, 2], box[i, 3]
            area = (x2 - x1) * (y2 - y1)
            best, best_iou = -1, iou
            near_x, near_y = _reach(x1, x2 - x1, iou), _reach(y1, y2 - y1, iou)
            for block in range(first, count, BLOCK):
                if not _close(left[block : block + BLOCK], top[block : block + BLOCK], near_x, near_y, close):
                    continue
                for c in range(block, min(block + BLOCK, count)):
                    if not close[c - block]:
                        continue
                    width = min(x2, fused[c, 2]) - max(x1, fused[c, 0])
                    height = min(y2, fused[c, 3]) - max(y1, fused[c, 1])
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
                fused[best, k] = moment[best, k] / sums[best]
            areas[best] = (fused[best, 2] - fused[best, 0]) * (fused[best, 3] - fused[best, 1])
            left[best], top[best] = fused[best, 0], fused[best, 1]
    return fused[:count], sums[:count], films[:count]


@njit(cache=True, nogil=True, inline="always")
def _reach(start: float, side: float, iou: float) -> tuple[np.float32, np.float32]:
    """The range, a little too wide, in which a box begins along one axis if it overlaps another by more than ``iou``.

    Both sides are then at least ``iou`` times the shared one, so the other begins at most ``(1 - iou) side`` later and,
    being at most ``side / iou`` long, at most ``(1 - iou) side / iou`` earlier.
    """
    later = (1 - iou) * side
    earlier = later / iou if iou > 0 else np.inf
    slack = 1e-6 * (abs(start) + earlier + side)
    return np.float32(start - earlier - slack), np.float32(start + later + slack)


@njit(cache=True, nogil=True, inline="always")
def _close(
    left: Corners, top: Corners, near_x: tuple[np.float32, np.float32], near_y: tuple[np.float32, np.float32],
    close: NDArray[np.bool_],
) -> int:  # fmt: skip
    """Note which of BLOCK clusters begin within both ranges; returns their number."""
    count = 0
    for c in range(BLOCK):
        close[c] = (left[c] >= near_x[0]) & (left[c] <= near_x[1]) & (top[c] >= near_y[0]) & (top[c] <= near_y[1])
        count += close[c]
    return count
