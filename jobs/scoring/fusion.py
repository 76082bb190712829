"""Weighted boxes fusion (Solovyev et al. 2021, arXiv:1910.13302) that counts models, not boxes.

The reference package, ensemble-boxes, counts boxes: one sent twice by the same model looks as if two models agreed, and
confidences can exceed 1. Here each model speaks once in a cluster, by its strongest box; where no model has two boxes
in a cluster, both give the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from jobs.scoring.metric import Floats, Ints


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
    """Fuses the boxes of several detectors, film by film.

    In order of falling weighted confidence, each box joins the fused box it overlaps most, if by more than ``iou``,
    else it founds a new one. A fused box is the mean of its models' boxes, weighted by weight times confidence; its
    confidence is the weighted mean over all models, 0 for those that saw nothing: so it never exceeds 1.

    Args:
        models: each detector's boxes of one class.
        weights: how much each detector counts.
        iou: overlap above which two boxes mean the same.
        floor: boxes of a lower confidence are left out.

    Returns:
        The fused boxes by film and, within a film, by falling confidence.
    """
    of_model = np.repeat(np.arange(len(models)), [len(one.film) for one in models])
    film = np.concatenate([np.zeros(0, dtype=np.int64), *(one.film for one in models)])
    box = np.concatenate([np.zeros((0, 4)), *(one.box for one in models)])
    confidence = np.concatenate([np.zeros(0), *(one.confidence for one in models)])
    weight = np.asarray(weights, dtype=np.float64)
    weighted = confidence * weight[of_model] if len(of_model) else confidence
    kept = np.flatnonzero((confidence >= floor) & (weighted > 0))
    order = kept[np.lexsort((-weighted[kept], film[kept]))]
    starts = np.flatnonzero(np.diff(film[order], prepend=-1, append=-1))
    fused, sums, cluster_film = _fuse_sorted(
        film[order], box[order], weighted[order], of_model[order], starts, len(models), iou
    )
    total = sums / weight.sum() if len(sums) else sums
    ranked = np.lexsort((-total, cluster_film))
    return FilmBoxes(cluster_film[ranked], fused[ranked], np.minimum(total[ranked], 1.0))


@njit(cache=True, nogil=True)
def _fuse_sorted(
    film: Ints, box: Floats, weighted: Floats, of_model: Ints, starts: Ints, models: int, iou: float
) -> tuple[Floats, Floats, Ints]:
    """Clusters boxes sorted by film and falling weighted confidence; ``starts`` closes with the number of boxes.

    Returns:
        Of each cluster: the fused box (c, 4), the sum of its models' weighted confidences (c,), the film (c,).
    """
    boxes = len(film)
    fused = np.empty((boxes, 4))
    moment = np.empty((boxes, 4))
    sums = np.empty(boxes)
    areas = np.empty(boxes)
    films = np.empty(boxes, dtype=np.int64)
    spoken = np.zeros((boxes, models), dtype=np.bool_)
    count = 0
    for block in range(len(starts) - 1):
        first = count
        for i in range(starts[block], starts[block + 1]):
            area = (box[i, 2] - box[i, 0]) * (box[i, 3] - box[i, 1])
            best, best_iou = -1, iou
            for c in range(first, count):
                width = min(box[i, 2], fused[c, 2]) - max(box[i, 0], fused[c, 0])
                height = min(box[i, 3], fused[c, 3]) - max(box[i, 1], fused[c, 1])
                if width > 0 and height > 0:
                    shared = width * height
                    overlap = shared / (area + areas[c] - shared)
                    if overlap > best_iou:
                        best, best_iou = c, overlap
            if best < 0:
                best = count
                count += 1
                sums[best] = 0.0
                films[best] = film[i]
                moment[best] = 0.0
            elif spoken[best, of_model[i]]:
                continue
            spoken[best, of_model[i]] = True
            sums[best] += weighted[i]
            for k in range(4):
                moment[best, k] += weighted[i] * box[i, k]
                fused[best, k] = moment[best, k] / sums[best]
            areas[best] = (fused[best, 2] - fused[best, 0]) * (fused[best, 3] - fused[best, 1])
    return fused[:count], sums[:count], films[:count]
