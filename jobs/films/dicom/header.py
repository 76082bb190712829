"""Parses and checks the header of a DICOM film: all elements before the pixel data."""

import mmap
import struct
import warnings
import zlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

GREYSCALE: Final = ("MONOCHROME1", "MONOCHROME2")
REQUIRED: Final = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "PhotometricInterpretation",
)
NUMBERS: Final = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "SamplesPerPixel",
    "NumberOfFrames",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
)
# Elements that count as absent if they are empty.
OPTIONAL: Final = (
    "SamplesPerPixel",
    "NumberOfFrames",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleSlope",
    "RescaleIntercept",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "ModalityLUTSequence",
    "VOILUTSequence",
)
GREY_NUMBERS: Final = ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth")
PIXEL_DATA: Final = 0x7FE00010
FLOAT_PIXEL_DATA: Final = (0x7FE00008, 0x7FE00009)
MOST_PIXELS: Final = 40_000_000  # of a film; the largest detectors have half as many
MOST_INFLATED: Final = 2 * MOST_PIXELS + 2**24  # bytes of a deflated data set: its pixels, and 16 MiB for the rest
MOST_SLENDER: Final = 20  # longer side over shorter side; a whole spine has 4
UNDEFINED_LENGTH: Final = 0xFFFFFFFF


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


@dataclass(frozen=True)
class PixelData:
    """The element PixelData: its VR, and where its value lies."""

    content: mmap.mmap  # the file; inflated, if its data set is deflated
    vr: bytes | None  # None if implicit
    start: int
    length: int | None  # None if undefined, as it is of compressed pixels


def read_header(content: mmap.mmap) -> tuple[Header, PixelData]:
    """Read the header of a file and locate its pixel data.

    Raises:
        Unreadable: the file is not DICOM, is damaged, or is not a single greyscale image of at most 16 bits.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the competition's ids are not valid UIDs
        try:
            syntax = _transfer_syntax(content)
            if syntax == DeflatedExplicitVRLittleEndian:
                content = _inflated(content)
            file: Any = content  # typeshed's mmap is no BinaryIO
            elements: Any = read_dataset(file, syntax.is_implicit_VR, syntax.is_little_endian, stop_when=_is_pixel_data)
            _drop_empty(elements)
            _check(elements)
            return _header(elements, syntax), _pixel_data(content, syntax)
        except InvalidDicomError as error:
            raise Unreadable("is not a DICOM file") from error
        except (Unreadable, MemoryError):
            raise
        except Exception as error:  # damaged bytes raise many types of error in pydicom
            raise Unreadable(f"has a damaged header ({type(error).__name__}: {error})") from error


def _transfer_syntax(content: mmap.mmap) -> UID:
    """Read the file's meta information and leave the file positioned at its data set."""
    file: Any = content  # typeshed's mmap is no BinaryIO
    read_preamble(file, force=False)
    meta: Any = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    if not meta.get("TransferSyntaxUID"):
        raise Unreadable("lacks the DICOM elements TransferSyntaxUID")
    syntax = UID(meta.TransferSyntaxUID)
    if not syntax.is_transfer_syntax:
        raise Unreadable(f"has the unknown transfer syntax {syntax}")
    return syntax


def _inflated(content: mmap.mmap) -> mmap.mmap:
    """Inflate a data set (DICOM part 5, A.5), and no more than a film can have."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = inflate.decompress(content.read(), MOST_INFLATED)
    except zlib.error as error:
        raise Unreadable("has a data set that is not deflated, as its transfer syntax says") from error
    if inflate.unconsumed_tail:
        raise Unreadable(f"inflates to more than {MOST_INFLATED} bytes, the most that a film can have")
    if not inflate.eof:
        raise Unreadable("is truncated: its deflated data has no end")
    inflated = mmap.mmap(-1, len(data))
    inflated.write(data)
    inflated.seek(0)
    return inflated


def _is_pixel_data(tag: int, vr: str | None, length: int) -> bool:
    return tag == PIXEL_DATA or tag in FLOAT_PIXEL_DATA


def _pixel_data(content: mmap.mmap, syntax: UID) -> PixelData:
    """Locate the value of PixelData, at which the file is positioned.

    Whether its length is coded as explicit or implicit VR is seen from its bytes: some files are not encoded as their
    transfer syntax says. Implicit, the two bytes of a VR are the low bytes of the length, and these VRs would be odd.
    """
    start = content.tell()
    order = "<" if syntax.is_little_endian else ">"
    if len(content) < start + 8:
        raise Unreadable("is truncated: it has no pixel data")
    group, element = struct.unpack_from(f"{order}HH", content, start)
    if (group << 16 | element) != PIXEL_DATA:
        raise Unreadable("has pixels of floating-point numbers; supported are integers")
    vr = content[start + 4 : start + 6]
    explicit = vr in (b"OB", b"OW", b"UN")
    length_at, value_at = (8, 12) if explicit else (4, 8)
    (length,) = struct.unpack_from(f"{order}L", content, start + length_at)
    return PixelData(
        content, vr if explicit else None, start + value_at, None if length == UNDEFINED_LENGTH else length
    )


def _drop_empty(elements: Any) -> None:
    """Remove optional elements that are empty, windows without a centre or width, and lookup tables without data."""
    for name in OPTIONAL:
        if name in elements and elements[name].is_empty:
            del elements[name]
    for name in ("ModalityLUTSequence", "VOILUTSequence"):
        if name in elements:
            tables = [item for item in elements[name].value if item.get("LUTData") and item.get("LUTDescriptor")]
            if tables:
                elements[name].value = tables
            else:
                del elements[name]
    centres, widths = (_values(elements.get(name)) for name in ("WindowCenter", "WindowWidth"))
    windows = [pair for pair in zip(centres, widths, strict=False) if "" not in pair and None not in pair]
    if windows:
        elements.WindowCenter, elements.WindowWidth = ([*values] for values in zip(*windows, strict=True))
    else:
        for name in ("WindowCenter", "WindowWidth"):
            elements.pop(name, None)


def _values(value: Any) -> list[Any]:
    """Return the values of an element of one or several values."""
    if value is None:
        return []
    return [value] if isinstance(value, str | int | float) or not hasattr(value, "__iter__") else [*value]


def _check(elements: Any) -> None:
    """Raise unless the file is a single greyscale image of at most 16 bits."""
    missing = [name for name in REQUIRED if name not in elements or elements[name].is_empty]
    if missing:
        raise Unreadable(f"lacks the DICOM elements {', '.join(missing)}")
    for name in NUMBERS:
        if not isinstance(elements.get(name, 0), int):
            raise Unreadable(f"has a damaged header: {name} is {elements.get(name)!r}, not an integer")
    for name in GREY_NUMBERS:
        if not all(isinstance(value, int | float | Decimal) for value in _values(elements.get(name))):
            raise Unreadable(f"has a damaged header: {name} is {elements.get(name)!r}, not a number")
    photometric, samples = elements.PhotometricInterpretation, elements.get("SamplesPerPixel", 1)
    if photometric not in GREYSCALE or samples != 1:
        raise Unreadable(f"is a colour image ({photometric}, {samples} samples a pixel), not a greyscale film")
    if elements.get("NumberOfFrames", 1) not in (0, 1):
        raise Unreadable(f"has {elements.NumberOfFrames} frames; a film has one")
    allocated, stored = elements.BitsAllocated, elements.BitsStored
    if allocated not in (8, 16) or not 1 <= stored <= allocated:
        raise Unreadable(f"stores {stored} bits in {allocated}; supported are 1 to 16 bits in 8 or 16")
    short, long = sorted((elements.Rows, elements.Columns))
    if long > MOST_SLENDER * short > 0:
        raise Unreadable(f"has {elements.Rows} rows of {elements.Columns} pixels; no film is so slender")
    if not 0 < short * long <= MOST_PIXELS:
        raise Unreadable(f"has {elements.Rows} rows of {elements.Columns} pixels; a film has 1 to {MOST_PIXELS:,}")


def _header(elements: Any, syntax: UID) -> Header:
    padding = None
    if "PixelPaddingValue" in elements:
        values = (elements.PixelPaddingValue, elements.get("PixelPaddingRangeLimit", elements.PixelPaddingValue))
        low, high = sorted(_stored_value(value, elements) for value in values)
        padding = (low, high)
    return Header(
        elements=elements,
        syntax=str(syntax),
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


def _stored_value(value: int, elements: Any) -> int:
    """Return a value with the sign of the pixels: padding is often written as an unsigned number, or the reverse."""
    allocated, stored = int(elements.BitsAllocated), int(elements.BitsStored)
    pattern: int = value % 2**allocated
    if elements.PixelRepresentation and pattern >= 2 ** (allocated - 1):
        pattern -= 2**allocated
    elif elements.PixelRepresentation and 2 ** (stored - 1) <= pattern < 2**stored:
        pattern -= 2**stored
    return pattern
