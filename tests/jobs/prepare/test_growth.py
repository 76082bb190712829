"""A source that grows by a film: what is made anew, what is taken over, and that the dataset is as if made at once."""

import logging
import random
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jobs import prepare
from jobs.contract.exits import Damaged
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Output
from jobs.films.dataset import SHARD
from jobs.films.descriptions import read_descriptions
from jobs.films.dicom.film import read_film
from jobs.films.film_files import FilmFile
from jobs.films.phantom.files import write_phantom
from jobs.films.prepared import fetch_dataset
from jobs.prepare import shards
from jobs.prepare.shards import deal
from jobs.runtime.context import Context
from jobs.runtime.store import Store
from tests.jobs.prepare.conftest import Make, works

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")


def film_files(count: int) -> list[FilmFile]:
    return [FilmFile(f"film{number:06d}", "study", "series", f"{number}.dcm", "1") for number in range(count)]


def add_films(folder: Path, other: Path, count: int) -> list[Path]:
    """Add the first studies of another source that have one film each: so many films, with their labels."""
    single = [study for study in sorted((other / "train").iterdir()) if len(list(study.rglob("*.dcm"))) == 1][:count]
    names = [study.name for study in single]
    for name in ("train_study_level.csv", "train_image_level.csv"):
        own, theirs = (pd.read_csv(place / name) for place in (folder, other))
        column = "StudyInstanceUID" if "StudyInstanceUID" in theirs else "id"
        chosen = theirs[theirs[column].str.removesuffix("_study").isin(names)]
        pd.concat([own, chosen]).to_csv(folder / name, index=False)
    for study in single:
        shutil.copytree(study, folder / "train" / study.name)
    return [film for study in single for film in study.rglob("*.dcm")]


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return write_phantom(tmp_path / "other", patients=6, seed=9, size=96)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of at most four films."""
    monkeypatch.setattr(shards, "SHARD", 4)


def finished(store: Store, kind: str) -> dict[str, object]:
    """Time at which each finished work of a kind was stored, by its key."""
    entries = [entry for entry in store.list("work/prepare/") if entry.key.endswith("/DONE.json")]
    return {entry.key: entry.modified for entry in entries if store.get_json(entry.key)["kind"] == kind}


def test_films_are_dealt_by_their_ids_alone_whatever_their_order():
    films = film_files(3000)
    dealt = deal(films)
    assert sorted(film.image for shard in dealt for film in shard) == [film.image for film in films]
    assert all(0 < len(shard) <= SHARD for shard in dealt)
    assert len(dealt) <= 2 * len(films) / SHARD + 2, "and so are no smaller than they must be"
    assert all(shard == sorted(shard, key=lambda film: film.image) for shard in dealt)
    shuffled = random.Random(1).sample(films, len(films))
    assert {frozenset(shard) for shard in deal(shuffled)} == {frozenset(shard) for shard in dealt}
    assert deal([]) == []


@pytest.mark.slow
def test_a_film_more_or_less_changes_one_shard_or_halves_a_full_one():
    films = film_files(3000)
    dealt = {frozenset(shard) for shard in deal(films)}
    halved = 0
    for count in range(3000, 2900, -1):
        fewer = {frozenset(shard) for shard in deal(films[: count - 1])}
        gone, made = fewer - dealt, dealt - fewer
        assert (len(gone), len(made)) in ((1, 1), (1, 2))
        halved += len(made) == 2
        dealt = fewer
    assert halved < 5


def test_few_films_are_one_shard_in_the_order_of_the_index():
    assert deal(film_files(256)) == [film_files(256)]


@pytest.mark.slow
def test_one_more_film_makes_one_shard_anew_and_takes_the_others_over(
    context: Make,
    films: Path,
    other: Path,
    small: None,
    s3_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    prepare.run(context(films))
    before = {kind: finished(s3_store, kind) for kind in ("pixels", "facts", "tags")}
    add_films(films, other, 1)
    steps: list[int] = []
    given = context(films)
    monkeypatch.setattr(given.progress, "step", lambda films: steps.append(films))
    with caplog.at_level(logging.INFO):
        prepare.run(given)
    after = {kind: finished(s3_store, kind) for kind in before}
    for kind, sizes in (("pixels", 2), ("facts", 1), ("tags", 1)):
        assert before[kind].items() <= after[kind].items(), "what was there is not written again"
        assert len(after[kind]) - len(before[kind]) in (sizes, 2 * sizes)  # a shard, or the halves of a full one
    made = len(after["facts"]) - len(before["facts"])
    assert len(steps) <= 2 * 5, "the films and the tags of a shard and one film more"
    dataset, names = fetch_dataset(given, (32, 64)), [path.stem for path in films.rglob("*.dcm")]
    taken = len(shards.deal([FilmFile(name, "", "", "", "") for name in names])) - made
    decoded = len(steps) // 2
    said = f"{len(names)} films, {decoded} of them decoded; shards made: {made}, taken over: {taken}"
    assert said in caplog.text
    assert list(dataset.index["image"]) == sorted(names)
    for number, image in enumerate(dataset.index["image"]):
        film = read_film(next(films.rglob(f"{image}.dcm")))
        np.testing.assert_array_equal(dataset.pack(32)[number], film.square(32))
    described = read_descriptions(given)
    assert described is not None
    assert list(described["image"]) == list(dataset.index["image"])


@pytest.mark.slow
def test_a_machine_that_has_the_dataset_downloads_the_new_shard_alone(
    context: Make, films: Path, other: Path, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cache = tmp_path / "machine"
    prepare.run(first := context(films))
    fetch_dataset(replace(first, cache=cache), (32, 64))
    add_films(films, other, 1)
    prepare.run(given := context(films))
    downloads: list[str] = []
    real = Store.download

    def download(store: Store, what: Output | str, path: Path) -> Path:
        downloads.append(path.name)
        return real(store, what, path)

    monkeypatch.setattr(Store, "download", download)
    fetch_dataset(replace(given, cache=cache), (32, 64))
    pixels = [name for name in downloads if name.endswith("pixels.npy")]
    assert len(pixels) in (2, 4)  # at two sizes a shard, or the halves of a full one
    assert len(downloads) - len(pixels) <= 3, "the index and the lists of films"


@pytest.mark.slow
def test_the_shards_do_not_change_the_dataset_and_both_layouts_are_read(
    context: Make, films: Path, monkeypatch: pytest.MonkeyPatch, s3_store: Store
):
    prepare.run(one := context(films))
    expected = fetch_dataset(one, (32,))
    pixels = [expected.pack(32)[number].copy() for number in range(len(expected.index))]
    monkeypatch.setattr(shards, "SHARD", 4)
    # An older version cut films into shards in the order of the index; its packs are found by the same key.
    monkeypatch.setattr(shards, "deal", lambda films: [films[start : start + 4] for start in range(0, len(films), 4)])
    for layouts in ("in the order of the index", "by hash"):
        for work in works(s3_store).values():
            s3_store.delete_prefix(layout.work(Stage.PREPARE, work))
        prepare.run(given := replace(context(films), cache=one.cache.with_name(layouts)))
        dataset = fetch_dataset(given, (32,))
        assert dataset.hash == expected.hash
        for number, square in enumerate(pixels):
            np.testing.assert_array_equal(dataset.pack(32)[number], square)
        monkeypatch.setattr(shards, "deal", deal)


@pytest.mark.slow
def test_a_damaged_shard_alone_is_made_again(context: Make, films: Path, small: None, s3_store: Store):
    prepare.run(given := context(films))
    before = finished(s3_store, "pixels")
    work = next(work for name, work in works(s3_store).items() if name.startswith("pixels-32-"))
    done = s3_store.get_json(layout.done(layout.work(Stage.PREPARE, work)))["outputs"]["pixels.npy"]
    s3_store.put(done["key"], b"\0" * done["size"])
    with pytest.raises(Damaged, match="prepare makes it again"):
        fetch_dataset(replace(given, cache=given.cache / "another"), (32,))
    prepare.run(again := context(films))
    after = finished(s3_store, "pixels")
    assert [key for key in after if after[key] != before[key]] == [layout.done(layout.work(Stage.PREPARE, work))]
    dataset = fetch_dataset(replace(again, cache=given.cache / "another"), (32,))
    assert len(dataset.pack(32)) == len(dataset.index)


@pytest.mark.slow
def test_two_prepares_at_once_end_with_the_same_works(context: Make, films: Path, small: None, s3_store: Store):
    contexts: list[Context] = [context(films), replace(context(films), run="twin")]
    threads = [threading.Thread(target=prepare.run, args=(one,)) for one in contexts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    references = [one.prepared.works for one in contexts]
    assert references[0] == references[1]
    dataset = fetch_dataset(contexts[0], (32, 64))
    assert len(dataset.pack(64)) == len(dataset.index)
    listed = {entry.key for entry in s3_store.list("work/")}
    for work in references[0].values():
        outputs = s3_store.get_json(layout.done(layout.work(Stage.PREPARE, work)))["outputs"]
        assert {output["key"] for output in outputs.values()} <= listed
