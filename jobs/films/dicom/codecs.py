"""From the bytes of a DICOM file's pixel data to an array, with the fastest correct decoder of its transfer syntax.

Measured on 7.5-megapixel films: libjpeg-turbo reads JPEG lossless four times as fast as pydicom's plugins, imagecodecs'
JPEG-LS five times, OpenJPH reads HTJ2K twice as fast. Syntaxes that are not listed go through pydicom.
"""

import struct
from collections.abc import Callable
from typing import Any, Final, cast

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from jobs.films.dicom.header import Header, Unreadable

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
Decoder = Callable[[bytes], Any]

DECODERS: Final[dict[str, Decoder]] = {
    JPEGLossless: imagecodecs.jpeg8_decode,
    JPEGLosslessSV1: imagecodecs.jpeg8_decode,
    JPEGLSLossless: imagecodecs.jpegls_decode,
    JPEGLSNearLossless: imagecodecs.jpegls_decode,
    JPEG2000Lossless: imagecodecs.jpeg2k_decode,
    JPEG2000: imagecodecs.jpeg2k_decode,
    HTJ2KLossless: imagecodecs.htj2k_decode,
    HTJ2KLosslessRPCL: imagecodecs.htj2k_decode,
    HTJ2K: imagecodecs.htj2k_decode,
}
UNCOMPRESSED: Final = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)

PIXEL_DATA: Final = (0x7FE0, 0x0010)
ITEM: Final = (0xFFFE, 0xE000)
SEQUENCE_END: Final = (0xFFFE, 0xE0DD)


def knows(syntax: str) -> bool:
    """Whether ``decode`` reads a transfer syntax."""
    return syntax in DECODERS or syntax in UNCOMPRESSED or syntax == RLELossless


def decode(buffer: memoryview, start: int, header: Header) -> Pixels:
    """The stored bit patterns (rows, columns) of a film of one sample a pixel.

    Bits beyond BitsStored are as they are in the file, and signed values are not yet told from unsigned ones.

    Args:
        buffer: the whole file.
        start: where the element PixelData begins.
        header: of a transfer syntax that this module ``knows``.

    Raises:
        Unreadable: the pixel data is cut off, damaged, or of another size than the header says.
    """
    rows, columns, syntax = header.rows, header.columns, header.syntax
    dtype = np.dtype(f"<u{header.bits_allocated // 8}")
    if syntax in UNCOMPRESSED:
        data = _uncompressed(buffer, start, implicit=syntax == ImplicitVRLittleEndian)
        if len(data) < rows * columns * dtype.itemsize:
            raise Unreadable(f"is cut off: {len(data)} bytes of pixels where it says {rows} x {columns} of {dtype}")
        return np.frombuffer(data, dtype, rows * columns).reshape(rows, columns)
    stream = b"".join(_fragments(buffer, start))
    if syntax == RLELossless:
        pixels = np.frombuffer(imagecodecs.dicomrle_decode(stream, dtype), dtype)
        shape = (rows, columns) if pixels.size == rows * columns else pixels.shape
        pixels = pixels.reshape(shape)
    else:
        pixels = DECODERS[syntax](stream)
    if pixels.shape != (rows, columns):
        raise Unreadable(f"holds pixels of {pixels.shape} where its header says {(rows, columns)}")
    return cast(Pixels, pixels.view(f"u{pixels.itemsize}").astype(dtype, copy=False))


def _uncompressed(buffer: memoryview, start: int, implicit: bool) -> memoryview:
    length_at, value_at = (4, 8) if implicit else (8, 12)
    (length,) = struct.unpack_from("<L", buffer, start + length_at)
    return buffer[start + value_at : start + value_at + length]


def _fragments(buffer: memoryview, start: int) -> list[memoryview]:
    """The pieces of an encapsulated frame: the items after the first, which is the table of offsets.

    DICOM part 5, A.4.
    """
    items: list[memoryview] = []
    position = start + 12
    while position + 8 <= len(buffer):
        group, element, length = struct.unpack_from("<HHL", buffer, position)
        position += 8
        if (group, element) == SEQUENCE_END:
            return items[1:]
        if (group, element) != ITEM:
            raise Unreadable(f"has damaged pixel data: ({group:04x},{element:04x}) in place of a fragment")
        items.append(buffer[position : position + length])
        position += length
    raise Unreadable("is cut off: its compressed pixel data has no end")
