"""Reads what a compressed stream says about itself: its size, components and precision, without decoding it."""

import struct
from dataclasses import dataclass
from typing import Final

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLSLossless,
    RLELossless,
)

from jobs.films.dicom.header import Header, Unreadable

JPEG2000_SYNTAXES: Final = (JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K)
JP2_SIGNATURE: Final = b"\x00\x00\x00\x0cjP  "
JP2_CODE_STREAM: Final = b"jp2c"
START_OF_CODE_STREAM: Final = b"\xff\x4f\xff\x51"  # of JPEG 2000, with the marker of its size
END: Final = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000 alike
START_OF_TILE_PART: Final = b"\xff\x90"  # of JPEG 2000
PADDED_END: Final = 16  # bytes at the end of a stream that hold its end and padding
TILES: Final = 65535  # most tiles of a JPEG 2000 stream (ISO 15444-1, A.5.1)
# Markers that start a frame of JPEG (ISO 10918-1, B.1.1.3) or JPEG-LS (ISO 14495-1, C.1.1).
FRAME_MARKERS: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7})
# The coding that a frame marker names; no film has another.
CODINGS: Final = {0xC0: JPEGBaseline8Bit, 0xC1: JPEGExtended12Bit, 0xC3: JPEGLossless, 0xF7: JPEGLSLossless}
HIGH_THROUGHPUT: Final = 1 << 14  # in the capabilities of a JPEG 2000 stream (ISO 15444-15, A.2)
START_OF_SCAN: Final = 0xDA


@dataclass(frozen=True)
class CodeStream:
    """What a stream says about its image.

    Attributes:
        coding: a transfer syntax of its coding, which need not be the file's; None where no film has such a coding.
    """

    coding: str | None
    rows: int
    columns: int
    components: int
    bits: int


def checked(stream: bytes, header: Header) -> tuple[bytes, str, int]:
    """Return a stream that matches its header, without the file format that may wrap JPEG 2000, its coding and bits.

    The coding is a transfer syntax whose decoder reads the stream exactly, also where the file names another one.

    A stream may use more or fewer bits than BitsStored, as many encoders do, but not more than BitsAllocated and not
    fewer bytes than BitsStored needs.

    Raises:
        Unreadable: its size, components or precision differ from the header's, or it is truncated.
    """
    if header.syntax == RLELossless:
        _check_segments(stream, header)
        return stream, header.syntax, header.bits_stored
    try:
        if header.syntax in JPEG2000_SYNTAXES:
            stream = _unwrapped(stream)
            found = _jpeg2000(stream)
        else:
            found = _jpeg(stream)
    except (struct.error, ValueError, IndexError) as error:
        raise Unreadable("has compressed pixel data that does not begin as its transfer syntax says") from error
    expected = (header.rows, header.columns, 1)
    too_deep = found.bits > header.bits_allocated or (found.bits <= 8 < header.bits_stored)
    if (found.rows, found.columns, found.components) != expected or too_deep:
        raise Unreadable(
            f"has a compressed stream of {found.rows} x {found.columns} pixels, {found.components} component"
            f"{'s' * (found.components != 1)} and {found.bits} bits; its header says {header.rows} x {header.columns}, "
            f"1 component and {header.bits_stored} bits in {header.bits_allocated}"
        )
    if END not in stream[-PADDED_END:]:  # some decoders fill what is missing
        raise Unreadable("is truncated: its compressed stream has no end")
    if found.coding is None:
        raise Unreadable("has a JPEG stream of a coding that films do not have, such as progressive")
    return stream, found.coding, found.bits


def _jpeg(stream: bytes) -> CodeStream:
    """Read the frame header of JPEG or JPEG-LS."""
    if not stream.startswith(b"\xff\xd8"):
        raise ValueError("no start of image")
    at = 2
    while stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker in FRAME_MARKERS:
            bits, rows, columns, components = struct.unpack_from(">BHHB", stream, at + 4)
            return CodeStream(CODINGS.get(marker), rows, columns, components, bits)
        if marker == START_OF_SCAN:
            break
        # A fill byte may come before a marker.
        at += 1 if marker == 0xFF else 2 + int(struct.unpack_from(">H", stream, at + 2)[0])
    raise ValueError("no frame header")


def _jpeg2000(stream: bytes) -> CodeStream:
    """Read the size marker of JPEG 2000 (ISO 15444-1, A.5.1)."""
    if not stream.startswith(START_OF_CODE_STREAM):
        raise ValueError("no start of code stream")
    capabilities = struct.unpack_from(">H", stream, 6)[0]
    right, bottom, left, top, width, height, tile_left, tile_top, components = struct.unpack_from(">8LH", stream, 8)
    depth, *steps = struct.unpack_from(">3B", stream, 42)
    inside = tile_left <= left < right and tile_top <= top < bottom and steps == [1, 1]
    if not inside or not width or not height:
        raise Unreadable("has a JPEG 2000 stream with impossible sizes")
    if -(-(right - tile_left) // width) * -(-(bottom - tile_top) // height) > TILES:
        raise Unreadable(f"has a JPEG 2000 stream of more than {TILES} tiles")
    _check_tile_parts(stream)
    coding = HTJ2K if capabilities & HIGH_THROUGHPUT else JPEG2000
    return CodeStream(coding, bottom - top, right - left, components, (depth & 0x7F) + 1)


def _check_tile_parts(stream: bytes) -> None:
    """Raise where a stream ends within a tile-part (ISO 15444-1, A.4.2): OpenJPH decodes what there is of it."""
    at = 2
    while (marker := stream[at : at + 2]) not in (START_OF_TILE_PART, END):
        if marker[:1] != b"\xff":
            raise ValueError("no marker")
        at += 2 + int(struct.unpack_from(">H", stream, at + 2)[0])
    while stream[at : at + 2] == START_OF_TILE_PART:
        (length,) = struct.unpack_from(">L", stream, at + 6)
        if length == 0:  # the last one, up to the end of the stream
            return
        at += max(length, 12)
        if at > len(stream) - len(END):
            raise Unreadable("is truncated: its compressed stream ends within a tile")


def _unwrapped(stream: bytes) -> bytes:
    """Return the code stream of a JP2 file, which DICOM forbids and some archives hold."""
    if not stream.startswith(JP2_SIGNATURE):
        return stream
    return stream[stream.index(START_OF_CODE_STREAM, stream.index(JP2_CODE_STREAM)) :]


def _check_segments(stream: bytes, header: Header) -> None:
    """Raise unless there is a segment for each byte of a pixel (DICOM part 5, G.3.1)."""
    expected = header.bits_allocated // 8
    segments = int.from_bytes(stream[:4], "little")
    if segments != expected:
        raise Unreadable(f"has {segments} RLE segments; its header says {expected}")
