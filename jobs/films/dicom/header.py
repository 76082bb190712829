"""Parses and checks the header of a DICOM film: all elements before the pixel data."""

import warnings
from dataclasses import dataclass
from typing import Any, Final

import pydicom
from pydicom.errors import InvalidDicomError

GREYSCALE: Final = ("MONOCHROME1", "MONOCHROME2")
REQUIRED: Final = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "PhotometricInterpretation",
)


class Unreadable(Exception):
    """The file cannot be read as a film. The message is a phrase that follows the file's name."""


@dataclass(frozen=True)
class Header:
    """The elements needed to decode a film."""

    elements: Any  # the pydicom dataset, with lookup tables and windows
    syntax: str
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric: str
    padding: tuple[int, int] | None  # lowest and highest stored value of padding
    patient: str | None
    windowed: bool  # has a window or a VOI LUT


def read_header(content: Any) -> Header:
    """Read the header of an open file and leave the file positioned at the element PixelData.

    Raises:
        Unreadable: the file is not DICOM, is damaged, or is not a single greyscale image of at most 16 bits.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the competition's ids are not valid UIDs
        try:
            elements: Any = pydicom.dcmread(content, stop_before_pixels=True)
            missing = [name for name in REQUIRED if elements.get(name) is None]
            missing += [] if "TransferSyntaxUID" in elements.file_meta else ["TransferSyntaxUID"]
            if missing:
                raise Unreadable(f"lacks the DICOM elements {', '.join(missing)}")
            _check(elements)
            return _header(elements)
        except InvalidDicomError as error:
            raise Unreadable("is not a DICOM file") from error
        except Unreadable:
            raise
        except Exception as error:  # damaged bytes raise many types of error in pydicom
            raise Unreadable(f"has a damaged header: {error}") from error


def _check(elements: Any) -> None:
    """Raise unless the file is a single greyscale image of at most 16 bits."""
    photometric, samples = elements.PhotometricInterpretation, elements.get("SamplesPerPixel", 1)
    if photometric not in GREYSCALE or samples != 1:
        raise Unreadable(f"is a colour image ({photometric}, {samples} samples a pixel), not a greyscale film")
    if int(elements.get("NumberOfFrames") or 1) != 1:
        raise Unreadable(f"has {elements.NumberOfFrames} frames; a film has one")
    allocated, stored = elements.BitsAllocated, elements.BitsStored
    if allocated not in (8, 16) or not 1 <= stored <= allocated:
        raise Unreadable(f"stores {stored} bits in {allocated}; supported are 1 to 16 bits in 8 or 16")
    if not (elements.Rows and elements.Columns):
        raise Unreadable(f"has {elements.Rows} rows of {elements.Columns} pixels")


def _header(elements: Any) -> Header:
    padding = None
    if elements.get("PixelPaddingValue") is not None:
        value = int(elements.PixelPaddingValue)
        limit = int(elements.get("PixelPaddingRangeLimit", value))
        padding = (min(value, limit), max(value, limit))
    return Header(
        elements=elements,
        syntax=str(elements.file_meta.TransferSyntaxUID),
        rows=int(elements.Rows),
        columns=int(elements.Columns),
        bits_allocated=int(elements.BitsAllocated),
        bits_stored=int(elements.BitsStored),
        signed=bool(elements.PixelRepresentation),
        photometric=str(elements.PhotometricInterpretation),
        padding=padding,
        patient=str(elements.get("PatientID") or "").strip() or None,
        windowed="WindowWidth" in elements or "VOILUTSequence" in elements,
    )
