"""A film is scaled down in one pass, bit for bit as by OpenCV's lookup and area resize one after the other."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.films.dicom.film import read_film
from jobs.films.dicom.shrinking import shrunk
from jobs.films.letterbox import Letterbox
from jobs.films.phantom.dicom_writer import SYNTAXES, Identity, Quirks, write_dicom


def in_two_steps(pixels, table, width, height):
    return cv2.resize(cv2.LUT(pixels, table), (width, height), interpolation=cv2.INTER_AREA)


@settings(max_examples=300, deadline=None)
@given(
    st.tuples(st.integers(1, 400), st.integers(1, 400)).flatmap(
        lambda sides: st.tuples(st.just(sides), *(st.integers(1, side) for side in sides))
    ),
    st.sampled_from([np.uint8, np.uint16]),
    st.sampled_from(["random", "white", "rising"]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_every_grey_scale_and_size_is_as_in_two_steps(sizes, dtype, scale, writeable, seed):
    (rows, columns), height, width = sizes
    rng, patterns = np.random.default_rng(seed), np.iinfo(dtype).max + 1
    pixels = rng.integers(0, patterns, (rows, columns)).astype(dtype)
    pixels.setflags(write=writeable)
    table = {
        "random": rng.integers(0, 65536, patterns),
        "white": np.full(patterns, 65535),
        "rising": np.linspace(0, 65535, patterns),
    }[scale].astype(np.uint16)
    result = shrunk(pixels, table, width, height)
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result, in_two_steps(pixels, table, width, height))


@pytest.mark.parametrize("size", [256, 320, 384, 456, 512, 528, 640, 768, 1024])
def test_a_large_film_is_as_in_two_steps(size):
    rng = np.random.default_rng(size)
    pixels, table = rng.integers(0, 4096, (3056, 2544)).astype(np.uint16), rng.integers(0, 65536, 65536)
    wide, high = Letterbox(2544, 3056, size).scaled
    table = table.astype(np.uint16)
    np.testing.assert_array_equal(shrunk(pixels, table, wide, high), in_two_steps(pixels, table, wide, high))


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("size", [40, 64, 96])  # both shorter and longer than the film's sides
def test_the_square_of_a_film_is_that_of_its_grey_levels(tmp_path: Path, syntax: str, bits: int, size: int):
    path = tmp_path / "film.dcm"
    ramp = np.linspace(0, 1, 70 * 52, dtype=np.float32).reshape(70, 52)
    write_dicom(path, ramp, Identity("p", "s", "e", "i"), Quirks(syntax, bits, inverted=True, voi="window"))
    film = read_film(path)
    square = Letterbox(52, 70, size).apply(film.grey)
    np.testing.assert_array_equal(film.square(size), np.rint(square * np.float32(255 / 65535)).astype(np.uint8))
