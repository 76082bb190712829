"""What the film fuzzer does to films: bytes, elements, labels, streams, sizes, and things that are no film at all."""

import os
import random
import re
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
import pydicom
from pydicom import config
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

ROWS, COLUMNS = 50, 41
NATIVE: Final = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
SYNTAXES: Final = (
    *NATIVE, RLELossless, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless,
    JPEGLSNearLossless, JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K,
)  # fmt: skip


def base_films(folder: Path) -> list[Path]:
    """A small film of every transfer syntax and of two depths, where it has them."""
    folder.mkdir()
    grey = np.add.outer(np.linspace(0.1, 0.5, ROWS), np.linspace(0, 0.4, COLUMNS))
    grey += np.random.default_rng(0).normal(0, 0.02, grey.shape)
    paths = []
    for syntax in SYNTAXES:
        for bits in {JPEGBaseline8Bit: (8,), JPEGExtended12Bit: (12,)}.get(syntax, (8, 12)):
            paths.append(folder / f"{syntax.keyword}-{bits}.dcm")
            _write(paths[-1], np.rint(np.clip(grey, 0, 1) * (2**bits - 1)), syntax, bits)
    return sorted(paths)


def _write(path: Path, values: Any, syntax: Any, bits: int) -> None:
    with config.disable_value_validation():
        film: Any = pydicom.Dataset()
        film.file_meta = pydicom.dataset.FileMetaDataset()
        film.file_meta.TransferSyntaxUID = syntax
        film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
        film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID = "1.2.3"
        film.PatientID, film.StudyInstanceUID, film.SeriesInstanceUID = "patient", "1.2.4", "1.2.5"
        film.Modality, film.PhotometricInterpretation, film.SamplesPerPixel = "DX", "MONOCHROME2", 1
        film.Rows, film.Columns = values.shape
        film.BitsAllocated, film.BitsStored, film.HighBit = (8 if bits <= 8 else 16), bits, bits - 1
        film.PixelRepresentation = 0
        film.WindowCenter, film.WindowWidth = 2 ** (bits - 1), 2**bits
        film.RescaleSlope, film.RescaleIntercept = 1, 0
        pixels = values.astype(np.uint8 if bits <= 8 else np.uint16)
        if syntax in NATIVE:
            order = ">" if syntax == ExplicitVRBigEndian else "<"
            data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
            film.PixelData = data + b"\0" * (len(data) % 2)
            film["PixelData"].VR = "OW"
        else:
            film.PixelData = encapsulate([stream(pixels, syntax, bits)])
            film["PixelData"].VR = "OB"
            film["PixelData"].is_undefined_length = True
        film.save_as(path, enforce_file_format=True)


def stream(pixels: Any, syntax: Any, bits: int) -> bytes:
    """Pixels (height, width) or (height, width, 3) as one code stream."""
    encoders: dict[Any, Callable[[], Any]] = {
        RLELossless: lambda: _run_lengths(pixels, bits),
        JPEGBaseline8Bit: lambda: imagecodecs.jpeg8_encode(pixels, level=95),
        JPEGExtended12Bit: lambda: imagecodecs.jpeg8_encode(pixels, level=95, bitspersample=bits),
        JPEGLossless: lambda: imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=4, bitspersample=bits),
        JPEGLosslessSV1: lambda: imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=bits),
        JPEGLSLossless: lambda: imagecodecs.jpegls_encode(pixels),
        JPEGLSNearLossless: lambda: imagecodecs.jpegls_encode(pixels, level=2),
        JPEG2000Lossless: lambda: _j2k(pixels, bits, reversible=True),
        JPEG2000: lambda: _j2k(pixels, bits, reversible=False, level=40),
    }
    htj2k = {HTJ2KLossless: True, HTJ2KLosslessRPCL: True, HTJ2K: False}
    if syntax in htj2k:
        return bytes(imagecodecs.htj2k_encode(pixels, reversible=htj2k[syntax]))
    return bytes(encoders[syntax]())


def _run_lengths(pixels: Any, bits: int) -> bytes:
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    return bytes(
        RLELosslessEncoder.encode(
            pixels, encoding_plugin="pylibjpeg", rows=pixels.shape[0], columns=pixels.shape[1],
            samples_per_pixel=samples, number_of_frames=1, bits_allocated=pixels.itemsize * 8, bits_stored=bits,
            pixel_representation=0, photometric_interpretation="RGB" if samples == 3 else "MONOCHROME2",
            planar_configuration=0,
        )
    )  # fmt: skip


def _j2k(pixels: Any, bits: int, **options: Any) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", bitspersample=bits, **options))


def mutated(name: str, base: Path, path: Path, chance: random.Random) -> None:
    """Write a mutation of a film."""
    MUTATIONS[name](base, path, chance)


Mutation = Callable[[Path, Path, random.Random], None]
Bytes = Callable[[bytearray, random.Random], bytes | bytearray]


def _on_bytes(change: Bytes) -> Mutation:
    def mutation(base: Path, path: Path, chance: random.Random) -> None:
        path.write_bytes(change(bytearray(base.read_bytes()), chance))

    return mutation


def _pixels_at(data: bytes | bytearray) -> int:
    """Where the element PixelData begins, or half-way where it is not seen (deflated)."""
    found = max(data.find(b"\xe0\x7f\x10\x00"), data.find(b"\x7f\xe0\x00\x10"))
    return found if found > 0 else len(data) // 2


def _flip(data: bytearray, chance: random.Random, start: int, stop: int) -> bytearray:
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        data[chance.randrange(start, max(start + 1, min(stop, len(data))))] ^= 1 << chance.randrange(8)
    return data


def _insert(data: bytearray, chance: random.Random) -> bytearray:
    at = chance.randrange(len(data))
    data[at:at] = chance.randbytes(chance.choice((1, 2, 7, 64)))
    return data


def _blank(data: bytearray, chance: random.Random) -> bytearray:
    at = chance.randrange(132, len(data))
    data[at : at + chance.choice((2, 8, 64, 512))] = bytes(8)
    return data


def _length(data: bytearray, chance: random.Random) -> bytearray:
    """A wrong length at a likely place."""
    places = [found.start() for found in re.finditer(rb"\x00\x00\x00|[\x00-\x40]\x00[A-Z]{2}", bytes(data[132:]))]
    at = 132 + chance.choice(places or [0])
    data[at : at + 4] = struct.pack("<L", chance.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, 0x10000000)))
    return data


ELEMENTS: Final[dict[str, tuple[Any, ...]]] = {
    "Rows": (0, 1, ROWS - 1, ROWS + 1, 65535, None),
    "Columns": (0, 1, COLUMNS - 1, COLUMNS + 1, 65535, None),
    "BitsAllocated": (0, 1, 8, 12, 16, 24, 32, 64),
    "BitsStored": (0, 1, 8, 12, 16, 17, 65535),
    "HighBit": (0, 7, 11, 15, 65535),
    "PixelRepresentation": (1, 2, 65535, None),
    "SamplesPerPixel": (0, 2, 3, 65535, None),
    "PhotometricInterpretation": ("RGB", "PALETTE COLOR", "MONOCHROME1", "YBR_FULL_422", "", None),
    "NumberOfFrames": ("0", "2", "-1", "1000000", ""),
    "RescaleSlope": ("0", "-1", "1e308", "1e-308", "NaN", "Infinity", "", None),
    "RescaleIntercept": ("1e308", "NaN", "", None),
    "WindowCenter": ("NaN", "1e300", "-1e300", "", None, ["", "5"]),
    "WindowWidth": ("0", "-5", "NaN", "1e300", "", None, ["", "5"]),
    "VOILUTFunction": ("", "SIGMOID", "LINEAR_EXACT", "OTHER", None),
    "PixelPaddingValue": (0, 65535, 63536, None),
    "PatientID": ("", " ", "a\\b", "é" * 300),
    "BurnedInAnnotation": ("YES", "x" * 70000),
}
# Group, element and VR of those whose text pydicom writes only where it is a number.
NUMBERS_AS_TEXT: Final = (
    b"\x28\x00\x50\x10DS", b"\x28\x00\x51\x10DS", b"\x28\x00\x52\x10DS", b"\x28\x00\x53\x10DS", b"\x28\x00\x08\x00IS",
)  # fmt: skip
PIXELS_KEPT: Final = ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction", "PatientID")


def _element(names: tuple[str, ...]) -> Mutation:
    def mutation(base: Path, path: Path, chance: random.Random) -> None:
        with config.disable_value_validation():
            film: Any = pydicom.dcmread(base)
            for name in chance.sample(names, chance.choice((1, 1, 2))):
                value = chance.choice(ELEMENTS[name])
                tag = pydicom.datadict.tag_for_keyword(name)
                vr = pydicom.datadict.dictionary_VR(tag).split(" ")[0]
                if vr in ("DS", "IS"):  # as text: what pydicom will not write, files hold all the same
                    vr = "LO"
                film.pop(name, None)
                if value is not None:
                    film.add_new(tag, vr, value)
            out = BytesIO()
            film.save_as(out, enforce_file_format=True)
        data = out.getvalue()
        for tag in NUMBERS_AS_TEXT:
            data = data.replace(tag[:4] + b"LO", tag)
        path.write_bytes(data)

    return mutation


def _label(base: Path, path: Path, chance: random.Random) -> None:
    """Another transfer syntax in the file's head than that of its data."""
    data = base.read_bytes()
    film = pydicom.dcmread(base, stop_before_pixels=True)
    said = str(film.file_meta.TransferSyntaxUID)
    other = str(chance.choice([syntax for syntax in SYNTAXES if syntax != said]))
    width = len(said) + len(said) % 2
    there = data.index(b"\x02\x00\x10\x00UI")
    group = struct.unpack_from("<L", data, 140)[0]
    padded = other.encode() + b"\0" * (len(other) % 2)
    head = data[:140] + struct.pack("<L", group + len(padded) - width) + data[144:there]
    path.write_bytes(head + b"\x02\x00\x10\x00UI" + struct.pack("<H", len(padded)) + padded + data[there + 8 + width :])


def _other_stream(base: Path, path: Path, chance: random.Random) -> None:
    """A code stream of another size, of three components, or of another depth, under the same header."""
    film: Any = pydicom.dcmread(base)
    syntax, bits = film.file_meta.TransferSyntaxUID, int(film.BitsStored)
    rows, columns, other = film.Rows, film.Columns, bits
    kind = chance.choice(("larger", "smaller", "colour", "depth", "flat"))
    if syntax in NATIVE or (syntax == RLELossless and kind in ("depth", "flat")):  # run lengths know no shape
        kind = "smaller"
    rows, columns = {"larger": (rows * 2, columns), "smaller": (rows - 1, columns), "flat": (columns, rows)}.get(
        kind, (rows, columns)
    )
    if kind == "depth" and syntax not in (JPEGBaseline8Bit, JPEGExtended12Bit):
        other = 8 if bits == 12 else 12
    shape = (rows, columns, 3) if kind == "colour" or (kind, other) == ("depth", bits) else (rows, columns)
    if len(shape) == 3 and syntax != RLELossless and other > 8:
        shape, rows = (rows - 1, columns), rows - 1  # not every encoder takes deep colours
    pixels = np.random.default_rng(chance.randrange(99)).integers(0, 2**other, shape)
    pixels = pixels.astype(np.uint8 if other <= 8 else np.uint16)
    if syntax in NATIVE:
        film.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    else:
        film.PixelData = encapsulate([stream(pixels, syntax, other)])
    film.save_as(path, enforce_file_format=True)


def _claim(base: Path, path: Path, chance: random.Random) -> None:
    """A code stream, and in half of the cases the header too, that claims to be far larger than it is."""
    film: Any = pydicom.dcmread(base)
    rows, columns = chance.choice(((65500, 65500), (65535, 1), (1, 65535), (30000, 30000), (16000, 16000)))
    sizeless = (*NATIVE, RLELossless)
    if film.file_meta.TransferSyntaxUID not in sizeless:
        data = bytearray(film.PixelData)
        for found in re.finditer(rb"\xff[\xc0\xc1\xc3\xf7]..(.)", bytes(data), re.DOTALL):  # SOF of JPEG and JPEG-LS
            data[found.start() + 5 : found.start() + 9] = struct.pack(">HH", rows, columns)
        if (siz := data.find(b"\xff\x51")) > 0:  # SIZ of JPEG 2000: size, and that of a tile
            data[siz + 6 : siz + 14] = struct.pack(">LL", columns, rows)
            data[siz + 22 : siz + 30] = struct.pack(">LL", columns, rows)
        film.PixelData = bytes(data)
    if chance.random() < 0.5 or film.file_meta.TransferSyntaxUID in sizeless:
        film.Rows, film.Columns = rows, columns
    film.save_as(path, enforce_file_format=True)


def _size_marker(base: Path, path: Path, chance: random.Random) -> None:
    """Bits of a JPEG 2000 size marker, or of what follows the start of any other stream, turned round."""
    data = bytearray(base.read_bytes())
    siz = data.find(b"\xff\x51", _pixels_at(data))
    start = siz + 2 if siz > 0 else _pixels_at(data) + 20
    path.write_bytes(_flip(data, chance, start, start + 45))


def _bomb(base: Path, path: Path, chance: random.Random) -> None:
    """A deflated file of gigabytes of zeros, in pixels or in an element before them."""
    film: Any = pydicom.dcmread(base)
    out = BytesIO()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.PixelData, film["PixelData"].VR = b"\0" * 4, "OW"
    pydicom.dcmwrite(out, film, enforce_file_format=True)
    plain = out.getvalue().replace(b"\x14\x001.2.840.10008.1.2.1\0", b"\x16\x001.2.840.10008.1.2.1.99", 1)
    head_end = 144 + struct.unpack_from("<L", plain, 140)[0]
    body = plain[head_end + 2 :]
    plain = plain[:140] + struct.pack("<L", head_end - 144 + 2) + plain[144 : head_end + 2]
    at = body.index(b"\xe0\x7f\x10\x00") if chance.random() < 0.5 else len(body)
    size = 3 << 29
    tag = b"\x09\x00\x01\x10OB\0\0" if at < len(body) else b"\xe0\x7f\x11\x00OB\0\0"
    packer, zeros = zlib.compressobj(9, wbits=-15), bytes(1 << 24)
    before = packer.compress(body[:at] + tag + struct.pack("<L", size)) + packer.flush(zlib.Z_FULL_FLUSH)
    # What stands between two full flushes does not depend on what stood before, so it can be repeated.
    block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    after = packer.compress(body[at:]) + packer.flush()
    path.write_bytes(plain + before + block * (size >> 24) + after)


def _no_film(base: Path, path: Path, chance: random.Random) -> None:
    """Something else under a film's name."""
    match chance.randrange(9):
        case 0:
            path.write_bytes(b"")
        case 1:
            path.write_text("no film\n" * 1000)
        case 2:
            path.mkdir()
        case 3:
            os.mkfifo(path)
        case 4:
            path.symlink_to("nowhere")
        case 5:
            path.symlink_to("/dev/zero")
        case 6:
            path.write_bytes(base.read_bytes()[:132])
        case 7:
            path.write_bytes(chance.randbytes(5000))
        case 8:
            path.write_bytes(base.read_bytes())
            os.truncate(path, 3 << 30)


def _nested(base: Path, path: Path, chance: random.Random) -> None:
    """Sequences within sequences, without lengths, and without end."""
    data = base.read_bytes()
    film = pydicom.dcmread(base, stop_before_pixels=True)
    head_end = 144 + struct.unpack_from("<L", data, 140)[0]
    implicit = film.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    begin = b"\x08\x00\x40\x11" + (b"" if implicit else b"SQ\0\0") + b"\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(data[:head_end] + begin * chance.choice((10, 1000, 100_000)) + data[head_end:])


MUTATIONS: Final[dict[str, Mutation]] = {
    "bits turned": _on_bytes(lambda data, chance: _flip(data, chance, 132, len(data))),
    "bits of the header turned": _on_bytes(lambda data, chance: _flip(data, chance, 132, _pixels_at(data))),
    "bits of the stream's head turned": _on_bytes(
        lambda data, chance: _flip(data, chance, _pixels_at(data), _pixels_at(data) + 150)
    ),
    "bits of the size turned": _size_marker,
    "cut": _on_bytes(lambda data, chance: data[: chance.randrange(len(data))]),
    "bytes put in": _on_bytes(_insert),
    "bytes blanked": _on_bytes(_blank),
    "a wrong length": _on_bytes(_length),
    "an element of the pixels": _element(tuple(name for name in ELEMENTS if name not in PIXELS_KEPT)),
    "an element of the grey scale": _element(PIXELS_KEPT),
    "another's label": _label,
    "another's stream": _other_stream,
    "a claim of size": _claim,
    "a bomb": _bomb,
    "no film": _no_film,
    "nested": _nested,
    "bytes after the end": _on_bytes(lambda data, chance: data + chance.randbytes(chance.choice((1, 8, 999)))),
}
# After these a film is read as what it was, or refused.
SAME: Final = (
    "an element of the grey scale", "another's label", "another's stream", "a claim of size", "no film", "cut",
    "bytes after the end",
)  # fmt: skip
