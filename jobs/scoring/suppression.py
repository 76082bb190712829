"""Non-maximum suppression of a detector's candidates, bit for bit as torchvision does it on a CPU."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float32s = NDArray[np.float32]


def suppress(candidates: Float32s, confidence: float, iou: float, most: int) -> Float32s:
    """Keep the most confident of the candidates that overlap.

    Args:
        candidates: (5, n) ``x y width height`` of boxes by their centres, and confidence.
        confidence: candidates of this confidence or a lower one are left out.
        iou: a candidate whose IoU with a kept one is above this is dropped.
        most: number of boxes to keep at most.

    Returns:
        (kept, 5) ``xmin ymin xmax ymax confidence``, by descending confidence; ties keep their input order.
    """
    x, y, width, height, sure = candidates[:, candidates[4] > np.float32(confidence)]
    half_width, half_height = width / 2, height / 2
    boxes = np.stack([x - half_width, y - half_height, x + half_width, y + half_height, sure], 1)
    ranked = boxes[np.argsort(-sure, kind="stable")]
    return np.asarray(ranked[_kept(ranked, iou, most)])


@njit(cache=True, nogil=True)
def _kept(boxes: Float32s, iou: float, most: int) -> NDArray[np.int64]:
    """Return the positions of the boxes to keep, which are sorted by descending confidence."""
    kept = np.empty(min(most, len(boxes)), np.int64)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    none, count = np.float32(0), 0
    for i in range(len(boxes)):
        if count == len(kept):
            break
        stays = True
        for j in kept[:count]:
            width = max(none, min(boxes[j, 2], boxes[i, 2]) - max(boxes[j, 0], boxes[i, 0]))
            height = max(none, min(boxes[j, 3], boxes[i, 3]) - max(boxes[j, 1], boxes[i, 1]))
            overlap = width * height
            if overlap / (area[j] + area[i] - overlap) > iou:
                stays = False
                break
        if stays:
            kept[count] = i
            count += 1
    return kept[:count]
