"""From a DICOM file to a 512 px square: prepare's decoder compared with pydicom + OpenCV, one thread, in one run.

Both sides read the whole grey scale (rescale, window, MONOCHROME1), know the film by its SHA-256, which finds
duplicates, and end with the same square, give or take one grey level, which is asserted. The peer is pydicom's decoder
with its default plugins, its VOI LUT on the whole film, and OpenCV's area resize. Films: 3000 x 2500 pixels, 12 bits in
16, MONOCHROME1. JPEG 2000 at half its resolution (data.halve_from) is a row of its own, with its distance from the
whole film as peak signal to noise.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import hashlib
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import UID, JPEG2000Lossless

from jobs.films.dicom.film import read_film
from jobs.films.letterbox import Letterbox
from jobs.films.phantom.chest import Chest, Pose, draw
from jobs.films.phantom.dicom_writer import SYNTAXES, Identity, Quirks, write_dicom

HEIGHT, WIDTH, SIZE = 3000, 2500, 512


def film() -> NDArray[np.float32]:
    """A chest with the grain of a detector, so that it compresses as a real film does."""
    rng = np.random.default_rng(0)
    x, y = Pose.of(rng).body(HEIGHT, WIDTH, 0)
    grain = cv2.GaussianBlur(rng.normal(0, 0.01, x.shape).astype(np.float32), (0, 0), 0.8)
    chest: NDArray[np.float32] = draw(Chest.of(rng), Pose.of(rng), x, y, np.zeros_like(x)).astype(np.float32)
    return chest + grain


def ours(path: Path) -> NDArray[np.uint8]:
    return read_film(path).square(SIZE)


def half(path: Path) -> NDArray[np.uint8]:
    return read_film(path, halve_from=5 * SIZE).square(SIZE)


def peer(path: Path) -> NDArray[np.uint8]:
    file = pydicom.dcmread(path)
    hashlib.sha256(np.ascontiguousarray(file.pixel_array)).hexdigest()
    shown: Any = np.asarray(apply_voi_lut(apply_modality_lut(file.pixel_array, file), file), np.float64)
    if file.PhotometricInterpretation == "MONOCHROME1":
        shown = shown.max() - shown
    shown = (shown - shown.min()) / (shown.max() - shown.min()) * 255
    square = Letterbox(shown.shape[1], shown.shape[0], SIZE).apply(shown.astype(np.float32))
    return np.asarray(np.rint(square), np.uint8)


def seconds(function: Callable[[Path], object], path: Path, times: int = 3) -> float:
    """The best CPU time of a few."""
    best = float("inf")
    for _ in range(times):
        start = time.process_time()
        function(path)
        best = min(best, time.process_time() - start)
    return best


def main() -> None:
    warnings.simplefilter("ignore")
    cv2.setNumThreads(1)
    pixels = film()
    print(f"{'':>30} {'MB':>6} {'pydicom':>10} {'ours':>10} {'ratio':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for voi in (None, "window"):
            for syntax in SYNTAXES:
                path = Path(folder) / "film.dcm"
                write_dicom(path, pixels, Identity("p", "s", "e", "i"), Quirks(syntax, 12, inverted=True, voi=voi))
                assert np.abs(ours(path).astype(int) - peer(path)).max() <= 1
                theirs, mine = seconds(peer, path), seconds(ours, path)
                name = UID(syntax).name.split(",")[0].split("(")[0].replace("High-Throughput", "HT")[:22]
                label = f"{name}{' windowed' if voi else ''}"
                size = path.stat().st_size / 1e6
                print(f"{label:>30} {size:6.1f} {theirs * 1e3:7.0f} ms {mine * 1e3:7.0f} ms {theirs / mine:6.1f}x")
                if syntax == JPEG2000Lossless:
                    quick = seconds(half, path)
                    noise = np.mean((ours(path).astype(float) - half(path)) ** 2)
                    close = f"{10 * np.log10(255**2 / noise):.1f} dB" if noise else "decoded whole"
                    print(
                        f"{'at half its resolution':>30} {'':17} {quick * 1e3:7.0f} ms {theirs / quick:6.1f}x  {close}"
                    )


if __name__ == "__main__":
    main()
