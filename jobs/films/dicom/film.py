"""Reads a DICOM film as a viewer displays it: one channel, brighter where the body is denser."""

import hashlib
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import UID

from jobs.contract.exits import BadInput
from jobs.films.dicom import codecs
from jobs.films.dicom.codecs import StoredPixels
from jobs.films.dicom.grey_scale import WHITE, grey_scale, values_of_patterns
from jobs.films.dicom.header import Header, Unreadable, read_header
from jobs.films.letterbox import Letterbox


@dataclass(frozen=True)
class Facts:
    """What the index keeps of a film's file."""

    width: int
    height: int
    patient: str | None  # None if the file has no PatientID
    transfer_syntax: str
    photometric: str
    bits_stored: int
    windowed: bool  # has a window or a VOI LUT
    padded: float  # fraction of the pixels that are padding
    burnt: float  # fraction of the pixels that are white; large where a window does not fit the film
    pixels_sha256: str


@dataclass(frozen=True)
class DicomFilm:
    """A decoded film."""

    facts: Facts
    grey: NDArray[np.uint16]  # (height, width), 0 black to 65535 white

    def square(self, size: int) -> NDArray[np.uint8]:
        """Return the film letterboxed to (size, size)."""
        box = Letterbox(self.facts.width, self.facts.height, size)
        return np.asarray(np.rint(box.apply(self.grey) * np.float32(255 / WHITE)), np.uint8)


def read_film(path: Path, name: str | None = None) -> DicomFilm:
    """Read a film.

    Args:
        path: the file.
        name: name of the film in error messages; its path if None.

    Raises:
        BadInput: the file is not DICOM, is truncated or damaged, or is not a single greyscale image of at most 16 bits.
    """
    try:
        header, pixels = _read(path)
        scale = grey_scale(pixels, header)
    except Unreadable as error:
        raise BadInput(f"{name or path} {error}") from error
    grey: Any = cv2.LUT(pixels, scale.table)
    facts = Facts(
        width=header.columns,
        height=header.rows,
        patient=header.patient,
        transfer_syntax=UID(header.syntax).name,
        photometric=header.photometric,
        bits_stored=header.bits_stored,
        windowed=header.windowed,
        padded=scale.padded,
        burnt=scale.burnt,
        pixels_sha256=_hash(pixels),
    )
    return DicomFilm(facts, grey)


def stored_values(path: Path) -> NDArray[np.int32]:
    """Return the stored values (height, width), signed if PixelRepresentation is 1, without bits above BitsStored.

    Raises:
        BadInput: as ``read_film``.
    """
    try:
        header, pixels = _read(path)
    except Unreadable as error:
        raise BadInput(f"{path} {error}") from error
    return values_of_patterns(2 ** (8 * pixels.itemsize), header)[pixels]


def _read(path: Path) -> tuple[Header, StoredPixels]:
    """Return the header and the stored bit patterns."""
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise Unreadable(f"cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise Unreadable("is empty") from error
    header = read_header(content)
    try:
        if not codecs.supports(header.syntax):
            return header, _decode_with_pydicom(path)
        if content.tell() >= len(content):
            raise Unreadable("is truncated: it has no pixel data")
        return header, codecs.decode(content, header)
    except Unreadable:
        raise
    except Exception as error:  # damaged bytes raise many types of error in the decoders
        raise Unreadable(f"has pixel data that cannot be decoded: {error}") from error


def _decode_with_pydicom(path: Path) -> StoredPixels:
    """Decode a transfer syntax that is rare among films, with pydicom's plugins."""
    pixels: Any = pydicom.dcmread(path).pixel_array
    native = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    return cast(StoredPixels, native.view(f"u{native.itemsize}"))


def _hash(pixels: StoredPixels) -> str:
    """Return the SHA-256 of the shape and the bit patterns; it is the same for every lossless syntax."""
    content = hashlib.sha256(str(pixels.shape).encode())
    contiguous: Any = np.ascontiguousarray(pixels)
    content.update(contiguous)
    return content.hexdigest()
