"""What a DICOM file says of its film before the pixels: parsed once, in full, and checked."""

import warnings
from dataclasses import dataclass
from typing import Any, Final

import pydicom
from pydicom.errors import InvalidDicomError

GREY: Final = ("MONOCHROME1", "MONOCHROME2")
NEEDED: Final = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "PhotometricInterpretation",
)


class Unreadable(Exception):
    """What is wrong with a film's file: a phrase that goes after its name."""


@dataclass(frozen=True)
class Header:
    """The elements that a film is read by."""

    elements: Any  # the pydicom dataset, for lookup tables and windows
    syntax: str
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric: str
    padding: tuple[int, int] | None  # lowest and highest stored value that is no part of the film
    patient: str | None
    windowed: bool  # has a window or a VOI LUT


def read_header(content: Any) -> Header:
    """Read the header of an open file, which is then at the first byte of the pixel data.

    Raises:
        Unreadable: it is no DICOM file, is damaged, or holds no single grey film of at most 16 bits.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the competition's ids are no valid UIDs
        try:
            elements: Any = pydicom.dcmread(content, stop_before_pixels=True)
            missing = [name for name in NEEDED if elements.get(name) is None]
            missing += [] if "TransferSyntaxUID" in elements.file_meta else ["TransferSyntaxUID"]
            if missing:
                raise Unreadable(f"lacks the DICOM elements {', '.join(missing)}")
            _check(elements)
            return _header(elements)
        except InvalidDicomError as error:
            raise Unreadable("is no DICOM file") from error
        except Unreadable:
            raise
        except Exception as error:  # whatever damaged bytes lead a parser to
            raise Unreadable(f"has a damaged header: {error}") from error


def _check(elements: Any) -> None:
    """Refuse what is no single grey film."""
    photometric, samples = elements.PhotometricInterpretation, elements.get("SamplesPerPixel", 1)
    if photometric not in GREY or samples != 1:
        raise Unreadable(f"is a colour image ({photometric}, {samples} samples a pixel), not a grey film")
    if int(elements.get("NumberOfFrames") or 1) != 1:
        raise Unreadable(f"has {elements.NumberOfFrames} frames, not one film")
    allocated, stored = elements.BitsAllocated, elements.BitsStored
    if allocated not in (8, 16) or not 1 <= stored <= allocated:
        raise Unreadable(f"stores {stored} bits in {allocated}; films of up to 16 bits in 8 or 16 can be read")
    if not (elements.Rows and elements.Columns):
        raise Unreadable(f"has {elements.Rows} rows of {elements.Columns} pixels")


def _header(elements: Any) -> Header:
    padding = None
    if elements.get("PixelPaddingValue") is not None:
        one_end = int(elements.PixelPaddingValue)
        other_end = int(elements.get("PixelPaddingRangeLimit", one_end))
        padding = (min(one_end, other_end), max(one_end, other_end))
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
