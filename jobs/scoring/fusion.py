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

WORD: Final = 8  # booleans in a word of 64 bits

# Columns of a cluster: the corners of the fused box; its area; the sum of its boxes' weighted confidences; the sum of
# their corners, each times its weighted confidence.
AREA: Final = 4
SUM: Final = 5
MOMENT: Final = 6
COLUMNS: Final = 10


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
    weight = np.asarray(weights, dtype=np.float64)
    of_model = np.repeat(np.arange(len(models), dtype=np.int16), [len(boxes.film) for boxes in models])
    film = np.concatenate([np.zeros(0, dtype=np.int64), *(boxes.film for boxes in models)])
    box = np.concatenate([np.zeros((0, 4)), *(boxes.box for boxes in models)])
    own = (
        np.where(boxes.confidence >= floor, boxes.confidence * of_one, 0.0)
        for boxes, of_one in zip(models, weight, strict=True)
    )
    weighted = np.concatenate([np.zeros(0), *own])
    films = int(film.max(initial=-1)) + 1
    order, starts = rank(film, weighted, films)
    fused, sums, cluster_film = _fuse_sorted(box, weighted, of_model, order, starts, len(models), iou)
    total = sums / weight.sum() if len(sums) else sums
    ranked, _ = rank(cluster_film, total, films)
    return FilmBoxes(cluster_film[ranked], fused[ranked], np.minimum(total[ranked], 1.0))


@njit(cache=True, nogil=True)
def _fuse_sorted(
    box: Floats, weighted: Floats, of_model: NDArray[np.int16], order: Ints, starts: Ints, models: int, iou: float
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
    fused, sums, films = np.empty((len(box), 4)), np.empty(len(box)), np.empty(len(box), np.int64)
    # Of one film at a time, so that they stay in the processor's cache.
    most = np.max(starts[1:] - starts[:-1]) if len(starts) > 1 else 0
    cluster, counted = np.empty((most, COLUMNS)), np.empty((most, models), np.bool_)
    words = np.empty(-(-most // WORD), np.uint64)
    near = words.view(np.bool_)
    left, top = np.zeros(len(near), np.float32), np.zeros(len(near), np.float32)
    done = 0
    for film in range(len(starts) - 1):
        count = 0
        for i in order[starts[film] : starts[film + 1]]:
            if weighted[i] <= 0:
                break
            _mark_near(left, top, count, box, i, iou, near)
            c = _best(cluster, count, box, i, iou, near, words)
            if c < 0:
                c = count
                count += 1
                cluster[c], counted[c] = 0.0, False
            if not counted[c, of_model[i]]:
                counted[c, of_model[i]] = True
                _add(cluster, c, box, i, weighted[i])
                left[c], top[c] = cluster[c, 0], cluster[c, 1]
        places = slice(done, done + count)
        fused[places], sums[places], films[places] = cluster[:count, :AREA], cluster[:count, SUM], film
        done += count
    return fused[:done], sums[:done], films[:done]


@njit(cache=True, nogil=True, inline="always")
def _mark_near(
    left: Corners, top: Corners, count: int, box: Floats, i: int, iou: float, near: NDArray[np.bool_]
) -> None:
    """Mark which of ``count`` clusters begin where box ``i`` can reach them; the compiler makes vectors of the loop."""
    x, half_x = _reach(box[i, 0], box[i, 2] - box[i, 0], iou)
    y, half_y = _reach(box[i, 1], box[i, 3] - box[i, 1], iou)
    for c in range(-(-count // WORD) * WORD):
        near[c] = (abs(left[c] - x) <= half_x) & (abs(top[c] - y) <= half_y)


@njit(cache=True, nogil=True, inline="always")
def _reach(start: float, side: float, iou: float) -> tuple[np.float32, np.float32]:
    """The range, a little too wide, in which a box begins along one axis if it overlaps another by more than ``iou``.

    Both sides are then at least ``iou`` times the shared one, so the other begins at most ``(1 - iou) side`` later and,
    being at most ``side / iou`` long, at most ``(1 - iou) side / iou`` earlier.

    Returns:
        The middle of the range and half its length.
    """
    later = (1 - iou) * side
    earlier = later / iou if iou > 0 else np.inf
    slack = 1e-6 * (abs(start) + earlier + side)
    return np.float32(start + (later - earlier) / 2), np.float32((later + earlier) / 2 + slack)


@njit(cache=True, nogil=True, inline="always")
def _best(
    cluster: Floats, count: int, box: Floats, i: int, iou: float, near: NDArray[np.bool_], words: NDArray[np.uint64]
) -> int:
    """Return which of the near clusters overlaps box ``i`` most, the first of equals; -1 if none by above ``iou``.

    ``words`` are the bytes of ``near``, eight at a time: most are 0 and skipped.
    """
    x1, y1, x2, y2 = box[i, 0], box[i, 1], box[i, 2], box[i, 3]
    area = (x2 - x1) * (y2 - y1)
    best, best_iou = -1, iou
    for word in range(-(-count // WORD)):
        if not words[word]:
            continue
        for c in range(word * WORD, min((word + 1) * WORD, count)):
            if not near[c]:
                continue
            width = min(x2, cluster[c, 2]) - max(x1, cluster[c, 0])
            height = min(y2, cluster[c, 3]) - max(y1, cluster[c, 1])
            if width > 0 and height > 0:
                shared = width * height
                overlap = shared / (area + cluster[c, AREA] - shared)
                if overlap > best_iou:
                    best, best_iou = c, overlap
    return best


@njit(cache=True, nogil=True, inline="always")
def _add(cluster: Floats, c: int, box: Floats, i: int, weight: float) -> None:
    """Add box ``i`` to cluster ``c``."""
    cluster[c, SUM] += weight
    for k in range(4):
        cluster[c, MOMENT + k] += weight * box[i, k]
        cluster[c, k] = cluster[c, MOMENT + k] / cluster[c, SUM]
    cluster[c, AREA] = (cluster[c, 2] - cluster[c, 0]) * (cluster[c, 3] - cluster[c, 1])
