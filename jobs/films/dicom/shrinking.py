"""Scales a film down in one pass over its bit patterns, whose grey levels are looked up where they are averaged.

Bit for bit what OpenCV's lookup and area resize give, in about a third of their time: between the two, OpenCV writes
and reads a film of grey levels, and its area resize converts every one of them.
"""

from math import ceil, floor
from typing import Any

import cv2
import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from jobs.films.dicom.codecs import StoredPixels

# Compiled when imported, so that a process that decodes films inherits it. Raw pixels are the read-only file itself.
_SIGNATURES = [
    types.uint16[:, ::1](
        types.Array(patterns, 2, "C", readonly=True, aligned=False), types.float32[::1], types.int64, types.int64
    )
    for patterns in (types.uint8, types.uint16)
]


def shrunk(pixels: StoredPixels, table: NDArray[np.uint16], width: int, height: int) -> NDArray[np.uint16]:
    """Return a film's grey levels (height, width), each the mean over the area that it covers.

    Args:
        pixels: the bit patterns (rows, columns), of at least that size.
        table: (256 or 65536,) the grey level of each bit pattern.
        width: of the result.
        height: of the result.
    """
    rows, columns = pixels.shape
    if columns % width == 0 and rows % height == 0:  # OpenCV has a quick way for blocks of whole pixels
        return np.asarray(cv2.resize(cv2.LUT(pixels, table), (width, height), interpolation=cv2.INTER_AREA), np.uint16)
    contiguous: Any = np.ascontiguousarray(pixels)
    return np.asarray(_shrunk(contiguous, table.astype(np.float32), width, height))


@njit(cache=True, nogil=True)
def _shares(source: int, target: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Return how a line of ``source`` pixels makes a shorter one, with OpenCV's rounding (computeResizeAreaTab).

    Returns:
        The first pixel that each of the ``target`` pixels covers (target,), and the shares in it of that one and the
        pixels that follow (target, most); 0 for those beyond.
    """
    scale = 1.0 / (target / source)
    most = min(ceil(scale) + 1, source)
    first, share = np.zeros(target, np.uint32), np.zeros((target, most), np.float32)
    for t in range(target):
        start = t * scale
        side = min(scale, source - start)
        last = min(floor(start + scale), source - 1)
        whole = min(ceil(start), last)
        partial = whole - start > 1e-3
        first[t] = min(whole - partial, source - most)
        if partial:
            share[t, whole - 1 - first[t]] = (whole - start) / side
        for s in range(whole, last):
            share[t, s - first[t]] = 1.0 / side
        if start + scale - last > 1e-3:
            share[t, last - first[t]] = min(start + scale - last, 1.0, side) / side
    return first, share


@njit(_SIGNATURES, cache=True, nogil=True)
def _shrunk(pixels: StoredPixels, levels: NDArray[np.float32], width: int, height: int) -> NDArray[np.uint16]:
    """Average first along a row, then over rows, in float32 and in OpenCV's order of additions (ResizeArea_Invoker)."""
    left, x_share = _shares(pixels.shape[1], width)
    top, y_share = _shares(pixels.shape[0], height)
    result, row, total = np.empty((height, width), np.uint16), np.empty(width, np.float32), np.empty(width, np.float32)
    summed = -1  # the row of the film in ``row``: a row on a border is part of two
    for y in range(height):
        total[:] = 0
        for j in range(y_share.shape[1]):
            if y_share[y, j] == 0:
                continue
            if top[y] + j != summed:
                summed = top[y] + j
                for x in range(width):
                    mean = np.float32(0)
                    for k in range(x_share.shape[1]):
                        mean += levels[pixels[summed, left[x] + np.uint32(k)]] * x_share[x, k]
                    row[x] = mean
            for x in range(width):
                total[x] += y_share[y, j] * row[x]
        for x in range(width):
            result[y, x] = min(np.rint(total[x]), np.float32(65535))
    return result
