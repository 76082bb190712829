"""The DICOM grey scale: from stored values to grey levels from 0 (black) to 65535 (white).

The order follows the standard (part 4, N.2): modality LUT or rescale, then VOI LUT or window, then inversion of
MONOCHROME1. The result is stretched over the values that occur, without padding. Every step maps single values, so
pydicom applies it once to each value that occurs, and a lookup table carries the result to the pixels.
"""

import warnings
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from jobs.films.dicom.codecs import StoredPixels
from jobs.films.dicom.header import Header, Unreadable

WHITE: Final = 65535


@dataclass(frozen=True)
class GreyScale:
    """The grey levels of one film.

    Attributes:
        table: (256 or 65536,) the grey level of each bit pattern.
        padded: fraction of the pixels that are padding.
        burnt: fraction of the pixels that are white; large where a window does not fit the film.
    """

    table: NDArray[np.uint16]
    padded: float
    burnt: float


def values_of_patterns(patterns: int, header: Header) -> NDArray[np.int32]:
    """Return the stored value of each of the 256 or 65536 bit patterns; bits above BitsStored are ignored."""
    bits = header.bits_stored
    values = np.arange(patterns, dtype=np.int32) & (2**bits - 1)
    negative = header.signed and values >= 2 ** (bits - 1)
    return np.asarray(np.where(negative, values - 2**bits, values))


def displayed_range(pixels: StoredPixels, header: Header) -> tuple[float, float]:
    """Return the least and the greatest displayed value of bit patterns (rows, columns) without padding.

    Raises:
        Unreadable: a lookup table or window cannot be applied.
    """
    stored = values_of_patterns(2 ** (8 * pixels.itemsize), header)
    shown = _displayed(stored[_counts(pixels) > 0], header)
    return float(shown.min()), float(shown.max())


def grey_scale(pixels: StoredPixels, header: Header, between: bool = False) -> GreyScale:
    """Compute the grey scale of a film from its bit patterns (rows, columns).

    Args:
        pixels: the bit patterns.
        header: of the film.
        between: also fill the table for patterns between those that occur; for unsigned pixels.

    Raises:
        Unreadable: a lookup table or window cannot be applied.
    """
    stored = values_of_patterns(2 ** (8 * pixels.itemsize), header)
    counts = _counts(pixels)
    padding = np.zeros(len(stored), bool)
    if header.padding:
        padding = (stored >= header.padding[0]) & (stored <= header.padding[1])
    valid = np.flatnonzero((counts > 0) & ~padding)
    table = np.zeros(len(stored), np.uint16)
    if len(valid):
        shown = _displayed(stored[valid], header)
        low, high = shown.min(), shown.max()
        if between:
            valid = np.arange(valid[0], valid[-1] + 1)
            shown = np.clip(_displayed(stored[valid], header), low, high)
        table[valid] = np.rint((shown - low) * (WHITE / (high - low))) if high > low else 0
    burnt = counts[(table == WHITE) & ~padding].sum()
    return GreyScale(table, float(counts[padding].sum() / counts.sum()), float(burnt / counts.sum()))


def _counts(pixels: StoredPixels) -> NDArray[np.float32]:
    """How often each of the 256 or 65536 bit patterns occurs."""
    patterns = 2 ** (8 * pixels.itemsize)
    return np.asarray(cv2.calcHist([pixels], [0], None, [patterns], [0, patterns]).ravel(), np.float32)


def _displayed(values: NDArray[np.int32], header: Header) -> NDArray[np.float64]:
    """Apply modality LUT, VOI LUT or window, and the inversion of MONOCHROME1 to stored values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            shown = np.asarray(apply_voi_lut(apply_modality_lut(values, header.elements), header.elements), np.float64)
        except Exception as error:  # wrong tables and windows raise many types of error in pydicom
            raise Unreadable(f"has a grey scale that cannot be applied: {error}") from error
    if not np.isfinite(shown).all():
        raise Unreadable(
            "has a grey scale that cannot be applied: its rescale or window gives values that are no numbers"
        )
    return -shown if header.photometric == "MONOCHROME1" else shown
