"""Write a drawn film as a DICOM file, with the encoding quirks of real archives.

A film's quirks depend only on its number: six transfer syntaxes, five bit depths, both photometric interpretations and
the other quirks cycle with different periods, so that they occur in many combinations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import config
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.uid import (
    PYDICOM_IMPLEMENTATION_UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

SYNTAXES: Final = (
    ExplicitVRLittleEndian,
    RLELossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2KLossless,
)
BITS: Final = (12, 8, 16, 10, 14)
VOI: Final = ("window", None, "two windows", None, "sigmoid", None, "table")
DIGITAL_X_RAY: Final = "1.2.840.10008.5.1.4.1.1.1.1"
PADDING: Final = 12  # pixels of padding on either side of a padded film


@dataclass(frozen=True)
class Quirks:
    """How a film is encoded."""

    syntax: str = ExplicitVRLittleEndian
    bits: int = 12
    inverted: bool = False  # MONOCHROME1
    rescaled: bool = False
    signed: bool = False
    padded: bool = False
    voi: str | None = None

    @staticmethod
    def of(number: int) -> "Quirks":
        """Return the quirks of the film with this number."""
        syntax = SYNTAXES[number % len(SYNTAXES)]
        return Quirks(
            syntax=syntax,
            bits=BITS[number % len(BITS)],
            inverted=number % 7 in (2, 5),
            rescaled=number % 4 == 1,
            signed=syntax == ExplicitVRLittleEndian and number % 4 == 2,
            padded=number % 11 == 3,
            voi=VOI[number % len(VOI)],
        )


@dataclass(frozen=True)
class Identity:
    """Ids of a film and of its patient, study and series, and who was examined with whose machine, where known."""

    patient: str
    study: str
    series: str
    image: str
    sex: str = ""
    age: int | None = None  # years
    manufacturer: str = ""


def write_dicom(path: Path, film: NDArray[np.floating], identity: Identity, quirks: Quirks) -> None:
    """Write a film (height, width) of values 0 (black) to 1 as a DICOM file."""
    # Like the competition's ids, those of a phantom are not valid UIDs.
    with config.disable_value_validation():
        meta: Any = FileMetaDataset()
        meta.MediaStorageSOPClassUID = DIGITAL_X_RAY
        meta.MediaStorageSOPInstanceUID = identity.image
        meta.TransferSyntaxUID = quirks.syntax
        meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
        file: Any = FileDataset("", {}, preamble=b"\0" * 128, file_meta=meta)
        file.SOPClassUID, file.SOPInstanceUID = DIGITAL_X_RAY, identity.image
        file.PatientID, file.StudyInstanceUID = identity.patient, identity.study
        file.SeriesInstanceUID = identity.series
        if identity.age is not None:
            file.PatientSex, file.PatientAge = identity.sex, f"{identity.age:03d}Y"
            file.Manufacturer = identity.manufacturer
        file.Modality, file.BodyPartExamined, file.ViewPosition = "DX", "CHEST", "PA"
        _describe(file, film.shape, quirks)
        _grey_scale(file, quirks)
        _pixels(file, film, quirks)
        file.save_as(path, enforce_file_format=True)


def _describe(file: Any, shape: tuple[int, ...], quirks: Quirks) -> None:
    file.SamplesPerPixel = 1
    file.PhotometricInterpretation = "MONOCHROME1" if quirks.inverted else "MONOCHROME2"
    file.Rows, file.Columns = shape
    file.BitsAllocated = 8 if quirks.bits <= 8 else 16
    file.BitsStored, file.HighBit = quirks.bits, quirks.bits - 1
    file.PixelRepresentation = int(quirks.signed)


def _grey_scale(file: Any, quirks: Quirks) -> None:
    """Set the rescale and window tags. Windows exclude the brightest and darkest few per cent."""
    slope, intercept = (2.0, -100.0) if quirks.rescaled else (1.0, 0.0)
    if quirks.rescaled:
        file.RescaleSlope, file.RescaleIntercept, file.RescaleType = slope, intercept, "US"
    top = 2**quirks.bits
    offset = -top // 2 if quirks.signed else 0
    centre, width = (top / 2 + offset) * slope + intercept, top * slope * 0.8
    if quirks.voi == "two windows":
        file.WindowCenter, file.WindowWidth = [centre, centre / 2], [width, width / 2]
        file.WindowCenterWidthExplanation = ["WHOLE CHEST", "LUNG"]
    elif quirks.voi in ("window", "sigmoid"):
        file.WindowCenter, file.WindowWidth = centre, width
    if quirks.voi == "sigmoid":
        file.VOILUTFunction = "SIGMOID"
    if quirks.voi == "table" and not quirks.rescaled and not quirks.signed:
        table: Any = Dataset()
        table.LUTDescriptor = [top % 65536, 0, 12]  # 0 means 65536 entries
        table.LUTData = np.rint(4095 * np.linspace(0, 1, top) ** 0.8).astype("<u2").tobytes()
        file.VOILUTSequence = [table]


def _pixels(file: Any, film: NDArray[np.floating], quirks: Quirks) -> None:
    top = 2**quirks.bits - 1
    grey = np.clip(film, 0, 1)
    stored = np.rint((1 - grey if quirks.inverted else grey) * top * 0.97).astype(np.int64)
    offset = -(top + 1) // 2 if quirks.signed else 0
    if quirks.padded:
        stored[:, :PADDING] = stored[:, -PADDING:] = top
        file.PixelPaddingValue = top + offset
    kind = f"{'i' if quirks.signed else 'u'}{file.BitsAllocated // 8}"
    pixels = (stored + offset).astype(kind)
    if quirks.syntax == ExplicitVRLittleEndian:
        data = pixels.tobytes()
        file.PixelData = data + b"\0" * (len(data) % 2)
        file["PixelData"].VR = "OB" if quirks.bits <= 8 else "OW"
    else:
        file.PixelData = encapsulate([encode(pixels, quirks)])
        file["PixelData"].VR = "OB"
        file["PixelData"].is_undefined_length = True


def encode(pixels: NDArray[Any], quirks: Quirks) -> bytes:
    """Encode unsigned pixels (height, width) as a lossless code stream in the quirks' transfer syntax."""
    encoders: dict[str, Callable[[], bytes | bytearray]] = {
        RLELossless: lambda: _run_lengths(pixels, quirks.bits),
        JPEGLosslessSV1: lambda: imagecodecs.jpeg8_encode(
            pixels, lossless=True, predictor=1, bitspersample=quirks.bits
        ),
        JPEGLSLossless: lambda: imagecodecs.jpegls_encode(pixels),
        JPEG2000Lossless: lambda: imagecodecs.jpeg2k_encode(
            pixels, codecformat="j2k", reversible=True, bitspersample=quirks.bits
        ),
        HTJ2KLossless: lambda: imagecodecs.htj2k_encode(pixels, reversible=True),
    }
    return bytes(encoders[quirks.syntax]())


def _run_lengths(pixels: NDArray[Any], bits: int) -> bytes:
    rows, columns = pixels.shape
    stream: bytes = RLELosslessEncoder.encode(
        pixels,
        encoding_plugin="pylibjpeg",
        rows=rows,
        columns=columns,
        samples_per_pixel=1,
        number_of_frames=1,
        bits_allocated=pixels.itemsize * 8,
        bits_stored=bits,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
    )
    return stream
