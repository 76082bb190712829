"""Masks of opacities, drawn from their boxes: the targets of the auxiliary head."""

from typing import Literal, assert_never

import cv2
import numpy as np
from numpy.typing import NDArray

Shape = Literal["soft", "box", "ellipse"]
Mask = NDArray[np.uint8]


def draw_mask(boxes: NDArray[np.floating], size: int, shape: Shape) -> Mask:
    """Draw the opacities of a film as a (size, size) uint8 mask; 255 is fully inside.

    ``box`` and ``ellipse`` (the largest ellipse within the box) have edges one pixel wide. ``soft`` models the
    uncertainty of a reader's box: the mask falls from 255, a quarter of a side inside each edge, to 0, a quarter of a
    side outside. Where opacities overlap, the larger value counts.

    Args:
        boxes: (N, 4) ``xmin ymin xmax ymax`` in pixels of the square.
        size: pixels per side.
        shape: how a box is filled.
    """
    mask = np.zeros((size, size), np.uint8)
    for xmin, ymin, xmax, ymax in np.asarray(boxes, np.float64).reshape(-1, 4):
        margin_x, margin_y = ((xmax - xmin) / 4, (ymax - ymin) / 4) if shape == "soft" else (1.0, 1.0)
        columns = _pixels(xmin - margin_x, xmax + margin_x, size)
        rows = _pixels(ymin - margin_y, ymax + margin_y, size)
        centres = np.arange(size, dtype=np.float64) + 0.5
        x, y = centres[columns], centres[rows]
        match shape:
            case "ellipse":
                half_x, half_y = (xmax - xmin) / 2, (ymax - ymin) / 2
                radius = np.hypot(((x - xmin) / half_x - 1)[None, :], ((y - ymin) / half_y - 1)[:, None])
                inside = np.clip((1 - radius) * min(half_x, half_y) + 0.5, 0, 1)
            case "box":
                inside = np.outer(_profile(y, ymin, ymax, 1.0), _profile(x, xmin, xmax, 1.0))
            case "soft":
                inside = np.outer(_profile(y, ymin, ymax, None), _profile(x, xmin, xmax, None))
            case _:
                assert_never(shape)
        part = mask[rows, columns]
        np.maximum(part, np.rint(255 * inside).astype(np.uint8), out=part)
    return mask


def shrink_mask(mask: Mask, cells: int) -> Mask:
    """Average the mask over the (cells, cells) grid of a feature map."""
    return np.asarray(cv2.resize(mask, (cells, cells), interpolation=cv2.INTER_AREA), np.uint8)


def _pixels(low: float, high: float, size: int) -> slice:
    return slice(int(np.clip(np.floor(low), 0, size)), int(np.clip(np.ceil(high), 0, size)))


def _profile(centres: NDArray[np.float64], low: float, high: float, width: float | None) -> NDArray[np.float64]:
    """Return 1 inside, 0 outside, 0.5 on the edges, with ramps ``width`` pixels wide (half the side if None)."""
    depth = np.minimum(centres - low, high - centres)
    return np.clip(depth / (width or (high - low) / 2) + 0.5, 0, 1)
