import numpy as np
import pytest
from numpy.typing import NDArray

from jobs.films.splitting.duplicates import THUMBNAIL, blank, near_duplicates, thumbnail

RNG = np.random.default_rng(4)


def films(count: int) -> NDArray[np.uint8]:
    """Unrelated smooth images."""
    coarse = RNG.integers(0, 256, (count, 8, 8))
    return np.kron(coarse, np.ones((THUMBNAIL // 8, THUMBNAIL // 8))).astype(np.uint8)


def test_a_brighter_noisy_copy_is_found_and_nothing_else():
    some = films(40)
    copy = np.clip(some[7] * 0.7 + 40 + RNG.normal(0, 3, some[7].shape), 0, 255).astype(np.uint8)
    pairs = near_duplicates(np.concatenate([some, copy[None]]), 0.98)
    assert [(pair.one, pair.other) for pair in pairs] == [(7, 40)]
    assert 0.98 < pairs[0].correlation < 1


def test_the_threshold_decides():
    some = films(2)
    some[1] = np.clip(some[0] + RNG.normal(0, 12, some[0].shape), 0, 255)
    found = near_duplicates(some, 0.9)[0].correlation
    assert near_duplicates(some, found + 1e-6) == []


def test_a_film_and_its_smaller_copy_have_the_same_thumbnail():
    film = np.kron(RNG.integers(0, 65536, (20, 16)), np.ones((30, 30))).astype(np.uint16)
    difference = thumbnail(film).astype(int) - thumbnail(film[::3, ::3])
    assert np.abs(difference).mean() < 2


def test_a_blank_film_is_nobodys_duplicate():
    flat = np.zeros((4, THUMBNAIL, THUMBNAIL), np.uint8)
    flat[2] = 9
    flat[3] = films(1)[0]
    assert blank(flat).tolist() == [True, True, True, False]
    assert near_duplicates(flat, 0.98) == []


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_films_have_no_pairs(count: int):
    assert near_duplicates(films(count), 0.5) == []
