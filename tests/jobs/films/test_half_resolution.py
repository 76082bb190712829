"""JPEG 2000 films at half their resolution: close to the whole film, or decoded whole."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.uid import HTJ2KLossless, JPEG2000Lossless, JPEGLSLossless

from jobs.contract.exits import BadInput
from jobs.films.dicom.film import DicomFilm, read_film
from jobs.films.phantom.chest import Chest, Pose, draw
from jobs.films.phantom.dicom_writer import Identity, Quirks, write_dicom

Writer = Callable[..., Path]


@pytest.fixture(scope="module")
def chest() -> NDArray[np.float32]:
    """A chest with the grain of a detector, of odd width."""
    rng = np.random.default_rng(0)
    x, y = Pose.of(rng).body(1500, 1251, 0)
    grain = cv2.GaussianBlur(rng.normal(0, 0.01, x.shape).astype(np.float32), (0, 0), 0.8)
    return (draw(Chest.of(rng), Pose.of(rng), x, y, np.zeros_like(x)) + grain).astype(np.float32)


@pytest.fixture
def written(tmp_path: Path, chest: NDArray[np.float32]) -> Writer:
    def write(film: NDArray[np.float32] = chest, syntax: str = JPEG2000Lossless, **quirks: object) -> Path:
        path = tmp_path / "film.dcm"
        write_dicom(path, film, Identity("p", "s", "e", "i"), Quirks(syntax, **quirks))
        return path

    return write


def both(path: Path) -> tuple[DicomFilm, DicomFilm]:
    """A film decoded whole, and at half its resolution where that is allowed."""
    return read_film(path), read_film(path, halve_from=1)


def decibels(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Peak signal to noise."""
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("voi", [None, "window", "sigmoid"])
@pytest.mark.parametrize(
    "bits", [8, pytest.param(12, marks=pytest.mark.slow), pytest.param(16, marks=pytest.mark.slow)]
)
def test_squares_of_a_half_film_are_close_to_those_of_the_whole_one(
    written: Writer, bits: int, voi: str | None, inverted: bool
):
    whole, half = both(written(bits=bits, voi=voi, inverted=inverted))
    assert half.facts.pixels_sha256 != whole.facts.pixels_sha256
    assert half.grey.shape == whole.grey.shape
    assert decibels(whole.square(256), half.square(256)) > 50
    assert half.facts.burnt == pytest.approx(whole.facts.burnt, abs=0.002)


@pytest.mark.parametrize(
    "quirks", [{"padded": True}, {"signed": True}, {"syntax": HTJ2KLossless}, {"syntax": JPEGLSLossless}]
)
def test_films_that_half_resolution_does_not_suit_are_decoded_whole(written: Writer, quirks: dict[str, object]):
    whole, half = both(written(**quirks))
    assert half.facts == whole.facts


@pytest.mark.slow
def test_a_film_whose_brightest_values_are_thin_letters_is_decoded_whole(written: Writer, chest: NDArray[np.float32]):
    marked = chest * 0.6
    marked[100:140, 100:102] = 1.0
    whole, half = both(written(marked))
    assert half.facts == whole.facts


def test_a_smaller_film_is_decoded_whole(written: Writer):
    path = written(voi="window")
    assert read_film(path, halve_from=1501).facts == read_film(path).facts != read_film(path, halve_from=1500).facts


def test_a_damaged_stream_is_told_as_it_is_of_a_whole_film(written: Writer):
    path = written(voi="window")
    content = path.read_bytes()
    coding_style = content.index(b"\xff\x52", content.index(b"\xff\x4f\xff\x51"))
    path.write_bytes(content[:coding_style] + bytes(14) + content[coding_style + 14 :])
    sentences = []
    for halve_from in (None, 1):
        with pytest.raises(BadInput, match="compressed pixel data") as refused:
            read_film(path, halve_from=halve_from)
        sentences.append(str(refused.value))
    assert sentences[0] == sentences[1]
