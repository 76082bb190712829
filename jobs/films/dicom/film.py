"""Reads a DICOM film as a viewer displays it: one channel, brighter where the body is denser."""

import hashlib
import mmap
import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.uid import JPEG2000, UID, JPEG2000Lossless

from jobs.contract.exits import BadInput
from jobs.films.dicom import codecs
from jobs.films.dicom.codecs import StoredPixels
from jobs.films.dicom.grey_scale import WHITE, GreyScale, grey_scale, values_of_patterns
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
    pixels: StoredPixels  # (height, width) bit patterns
    table: NDArray[np.uint16]  # the grey level of each bit pattern

    @cached_property
    def grey(self) -> NDArray[np.uint16]:
        """The grey levels (height, width), 0 black to 65535 white."""
        return np.asarray(cv2.LUT(self.pixels, self.table), np.uint16)

    def square(self, size: int) -> NDArray[np.uint8]:
        """Return the film letterboxed to (size, size)."""
        from jobs.films.dicom.shrinking import shrunk  # compiles, which only whoever decodes films has to wait for

        box = Letterbox(self.facts.width, self.facts.height, size)
        square = box.place(shrunk(self.pixels, self.table, *box.scaled)) if box.shrinks else box.apply(self.grey)
        return np.asarray(np.rint(square * np.float32(255 / WHITE)), np.uint8)


def read_film(path: Path, name: str | None = None, halve_from: int | None = None) -> DicomFilm:
    """Read a film.

    Args:
        path: the file.
        name: name of the film in error messages; its path if None.
        halve_from: least pixels of the longer side of a film that may be decoded at half its resolution; None: no film.

    Raises:
        BadInput: the file is not DICOM, is truncated or damaged, or is not a single greyscale image of at most 16 bits.
    """
    try:
        header, pixels, given = _read(path, halve_from)
        scale = given or grey_scale(pixels, header)
    except Unreadable as error:
        raise BadInput(f"{name or path} {error}") from error
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
    return DicomFilm(facts, pixels, scale.table)


def stored_values(path: Path) -> NDArray[np.int32]:
    """Return the stored values (height, width), signed if PixelRepresentation is 1, without bits above BitsStored.

    Raises:
        BadInput: as ``read_film``.
    """
    try:
        header, pixels, _ = _read(path)
    except Unreadable as error:
        raise BadInput(f"{path} {error}") from error
    return values_of_patterns(2 ** (8 * pixels.itemsize), header)[pixels]


def _read(path: Path, halve_from: int | None = None) -> tuple[Header, StoredPixels, GreyScale | None]:
    """Return the header, the stored bit patterns, and the grey scale of a film decoded at half its resolution."""
    try:
        header, data = read_header(_mapped(path))
        large = halve_from is not None and max(header.rows, header.columns) >= halve_from
        if large and header.syntax in (JPEG2000, JPEG2000Lossless):
            from jobs.films.dicom.half_resolution import decode_half  # imports Pillow, which few films need

            if half := decode_half(codecs.stream_of(data, header), header):
                return header, half.pixels, half.scale
        return header, codecs.decode(data, header), None
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # damaged bytes raise many types of error in the decoders
        raise Unreadable(f"has pixel data that cannot be decoded: {error}") from error


def _mapped(path: Path) -> mmap.mmap:
    """Map a file, if it is a regular one: opening a FIFO would wait for its writer."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise Unreadable(f"cannot be opened: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("is not a regular file")
        if not status.st_size:
            raise Unreadable("is empty")
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)


def _hash(pixels: StoredPixels) -> str:
    """Return the SHA-256 of the shape and the bit patterns; it is the same for every lossless syntax."""
    content = hashlib.sha256(str(pixels.shape).encode())
    contiguous: Any = np.ascontiguousarray(pixels)
    content.update(contiguous)
    return content.hexdigest()
