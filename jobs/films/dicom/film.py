"""A DICOM film as a person should see it: one channel, brighter where the body is denser.

The order is that of the standard (part 4, N.2): stored value → modality LUT or rescale → VOI LUT or window →
MONOCHROME1 turned round. The result is stretched over the values that occur, padding left out. All of these map single
values, so they are worked out once for each value that occurs, by pydicom itself, and reach the pixels as one table.
"""

import hashlib
import mmap
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import UID

from jobs.contract.exits import BadInput
from jobs.films.dicom import codecs
from jobs.films.dicom.codecs import Pixels
from jobs.films.dicom.header import Header, Unreadable, read_header
from jobs.films.letterbox import Letterbox

TOP: Final = 65535


@dataclass(frozen=True)
class Facts:
    """What the index keeps of a film's file."""

    width: int
    height: int
    patient: str | None  # None where the file does not say
    transfer_syntax: str
    photometric: str
    bits_stored: int
    windowed: bool  # has a window or a VOI LUT
    padded: float  # share of the film that is padding
    burnt: float  # share of the film that is as white as can be; large where a window does not fit the film
    pixels_sha256: str


@dataclass(frozen=True)
class Film:
    """A film that was read."""

    facts: Facts
    grey: NDArray[np.uint16]  # (height, width), 0 black to 65535 white

    def square(self, size: int) -> NDArray[np.uint8]:
        """The film letterboxed to (size, size)."""
        box = Letterbox(self.facts.width, self.facts.height, size)
        return np.asarray(np.rint(box.apply(self.grey) * np.float32(255 / TOP)), np.uint8)


def read_film(path: Path, name: str | None = None) -> Film:
    """Read a film.

    Args:
        path: the file.
        name: what messages call it, where its path says nothing to a person.

    Raises:
        BadInput: the file is no DICOM, is cut off or damaged, or holds no single grey film of at most 16 bits.
    """
    try:
        header, pixels = _read(path)
        stored = _stored_values(pixels, header)
        table, padded, burnt = _grey_table(pixels, stored, header)
    except Unreadable as error:
        raise BadInput(f"{name or path} {error}") from error
    grey: Any = cv2.LUT(pixels, table)
    facts = Facts(
        width=header.columns,
        height=header.rows,
        patient=header.patient,
        transfer_syntax=UID(header.syntax).name,
        photometric=header.photometric,
        bits_stored=header.bits_stored,
        windowed=header.windowed,
        padded=padded,
        burnt=burnt,
        pixels_sha256=_hash(pixels),
    )
    return Film(facts, grey)


def stored_values(path: Path) -> NDArray[np.int32]:
    """The stored values (height, width), signed where the file says so, bits beyond BitsStored cut off.

    Raises:
        BadInput: as ``read_film``.
    """
    try:
        header, pixels = _read(path)
    except Unreadable as error:
        raise BadInput(f"{path} {error}") from error
    return _stored_values(pixels, header)[pixels]


def _read(path: Path) -> tuple[Header, Pixels]:
    """The header and the stored bit patterns."""
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise Unreadable(f"cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise Unreadable("is empty") from error
    header = read_header(content)
    try:
        if not codecs.knows(header.syntax):
            return header, _by_pydicom(path)
        if content.tell() >= len(content):
            raise Unreadable("is cut off: it has no pixel data")
        return header, codecs.decode(memoryview(content), content.tell(), header)
    except Unreadable:
        raise
    except Exception as error:  # whatever damaged bytes lead a decoder to
        raise Unreadable(f"has pixel data that cannot be decoded: {error}") from error


def _by_pydicom(path: Path) -> Pixels:
    """The pixels of a syntax that is rare in archives of films."""
    pixels: Any = pydicom.dcmread(path).pixel_array
    native = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    return cast(Pixels, native.view(f"u{native.itemsize}"))


def _hash(pixels: Pixels) -> str:
    """SHA-256 of the shape and the stored bit patterns: the same for every lossless syntax."""
    content = hashlib.sha256(str(pixels.shape).encode())
    contiguous: Any = np.ascontiguousarray(pixels)
    content.update(contiguous)
    return content.hexdigest()


def _stored_values(pixels: Pixels, header: Header) -> NDArray[np.int32]:
    """The stored value of each bit pattern that a pixel can have (256 or 65536)."""
    bits = header.bits_stored
    values = np.arange(2 ** (8 * pixels.itemsize), dtype=np.int32) & (2**bits - 1)
    signed = header.signed and values >= 2 ** (bits - 1)
    return np.asarray(np.where(signed, values - 2**bits, values))


def _grey_table(pixels: Pixels, stored: NDArray[np.int32], header: Header) -> tuple[NDArray[np.uint16], float, float]:
    """The grey (0 to 65535) of each bit pattern; the share of pixels that are padding, and that of burnt-out ones."""
    counts = cv2.calcHist([pixels], [0], None, [len(stored)], [0, len(stored)]).ravel()
    padding = np.zeros(len(stored), bool)
    if header.padding:
        padding = (stored >= header.padding[0]) & (stored <= header.padding[1])
    valid = np.flatnonzero((counts > 0) & ~padding)
    table = np.zeros(len(stored), np.uint16)
    if len(valid):
        shown = _shown(stored[valid], header)
        low, high = shown.min(), shown.max()
        table[valid] = np.rint((shown - low) * (TOP / (high - low))) if high > low else 0
    burnt = counts[(table == TOP) & ~padding].sum()
    return table, float(counts[padding].sum() / counts.sum()), float(burnt / counts.sum())


def _shown(values: NDArray[np.int32], header: Header) -> NDArray[np.float64]:
    """What stored values look like: modality LUT, then VOI LUT or window, then MONOCHROME1 turned round."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            shown = np.asarray(apply_voi_lut(apply_modality_lut(values, header.elements), header.elements), np.float64)
        except Exception as error:  # whatever wrong tables and windows lead to
            raise Unreadable(f"has a grey scale that cannot be applied: {error}") from error
    return -shown if header.photometric == "MONOCHROME1" else shown
