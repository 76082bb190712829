"""Which films of one index are, or resemble, films of another."""

from dataclasses import replace

import numpy as np
import pytest

from jobs.films.lineage.crossing import REASONS, IndexedFilms, compare
from tests.jobs.films.lineage_films import films

OWN = films("own")


def changed(given: IndexedFilms, row: int, **values: object) -> IndexedFilms:
    rows = given.rows.copy()
    for column, value in values.items():
        rows.loc[row, column] = value
    return replace(given, rows=rows)


def test_films_of_other_patients_do_not_match():
    crossing = compare(OWN, films("other"), 0.98)
    assert crossing.matches == {}
    assert crossing.folds == {f"other{number}": number % 2 for number in range(8)}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"image": "own3"}, REASONS[0]),
        ({"pixels_sha256": "own3"}, REASONS[1]),
        ({"study": "own-study3"}, REASONS[2]),
        ({"patient": "own-patient3"}, REASONS[3]),
    ],
)
def test_a_film_matches_by_each_of_its_names(values: dict[str, str], reason: str):
    matches = compare(OWN, changed(films("other"), 5, **values), 0.98).matches
    image = values.get("image", "other5")
    assert matches == {image: {1: f"{image} {reason} own3"}}


def test_the_patient_of_a_films_header_counts_beside_that_of_the_table():
    other = films("other")
    other.tags[2] = "own-patient4"
    assert compare(OWN, other, 0.98).matches == {"other2": {0: f"other2 {REASONS[3]} own4"}}


def test_a_near_duplicate_brings_all_films_of_its_patient_along():
    other = changed(films("other"), 6, group=1)  # films 1 and 6 are of one patient
    other.thumbnails[6] = np.clip(OWN.thumbnails[3].astype(int) + 2, 0, 255)
    sentence = f"other6 {REASONS[4]} own3"
    assert compare(OWN, other, 0.98).matches == {"other1": {1: sentence}, "other6": {1: sentence}}
    other.thumbnails[6, :16] = 0
    assert compare(OWN, other, 0.98).matches == {}


def test_blank_films_do_not_match():
    own, other = films("own"), changed(films("other"), 0, pixels_sha256="own0")
    own.thumbnails[0] = other.thumbnails[0] = 0
    assert compare(own, other, 0.98).matches == {}
