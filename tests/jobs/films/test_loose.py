"""Films from anywhere: found, packed, and the bad ones named."""

from pathlib import Path

import numpy as np
import pytest

from jobs.films.dicom.film import read_film
from jobs.films.loose import find_films, pack_films
from jobs.films.phantom.files import write_phantom


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three patients' films in the competition's layout."""
    return write_phantom(tmp_path_factory.mktemp("films") / "films", patients=3, seed=2)


def nothing():
    pass


def test_finds_films_in_any_layout_and_the_study_that_each_names(folder, tmp_path):
    source = sorted(folder.rglob("*.dcm"))[0]
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "no-suffix").write_bytes(source.read_bytes())
    (tmp_path / "notes.txt").write_text("no film")
    films, problems = find_films([tmp_path, tmp_path / "absent.dcm"])
    assert [(film.path.name, film.study) for film in films] == [("no-suffix", source.parts[-3])]
    assert problems == [f"{tmp_path}/absent.dcm does not exist"]


def test_a_film_given_twice_counts_once(folder):
    films, _ = find_films([folder, *folder.rglob("*.dcm")])
    assert len({film.path for film in films}) == len(films) == len(list(folder.rglob("*.dcm")))


def test_packs_squares_and_names_the_films_that_cannot_be_read(folder, tmp_path):
    (tmp_path / "torn.dcm").write_bytes(sorted(folder.rglob("*.dcm"))[0].read_bytes()[:3000])
    (tmp_path / "table.csv").write_text("id,label\n")
    films, _ = find_films([folder, tmp_path / "torn.dcm", tmp_path / "table.csv"])
    packed = pack_films(films, (64, 96), tmp_path / "packed", 2, nothing)
    assert {Path(problem.split()[0]).name for problem in packed.problems} == {"torn.dcm", "table.csv"}
    assert len(packed.index) == len(films) - 2
    for size in (64, 96):
        for row, image in enumerate(packed.index["image"]):
            assert np.array_equal(packed.pack(size)[row], read_film(Path(image)).square(size))


def test_a_finished_shard_is_kept_and_a_changed_film_is_decoded_again(folder, tmp_path):
    films, _ = find_films([folder])
    decoded = []
    pack_films(films, (64,), tmp_path, 1, lambda: decoded.append(1))
    assert len(decoded) == len(films)
    pack_films(films, (64,), tmp_path, 1, lambda: decoded.append(1))
    assert len(decoded) == len(films)
    pack_films(films[1:], (64,), tmp_path, 1, lambda: decoded.append(1))
    assert len(decoded) == 2 * len(films) - 1
