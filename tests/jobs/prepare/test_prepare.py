"""The whole stage against a real S3 server."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest

from jobs import prepare
from jobs.contract import environment
from jobs.contract.exits import BadInput, Stopped
from jobs.contract.experiment import ExtraFilms, Folds
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.films.descriptions import read_descriptions
from jobs.films.dicom.film import read_film
from jobs.films.lineage.shared_films import SharedFilms
from jobs.films.phantom.files import write_phantom
from jobs.films.prepared import fetch_dataset
from jobs.prepare import shards
from jobs.runtime.context import Context
from jobs.runtime.store import Store
from jobs.runtime.work import fetch
from tests.jobs.attempts import RUN
from tests.jobs.prepare.conftest import Make, works

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")


def test_films_become_the_packed_dataset(context: Make, phantom: Path):
    given = context(phantom)
    scores = prepare.run(given)
    dataset = fetch_dataset(given, (32, 64))
    index = dataset.index
    assert scores == {"films": len(index), "studies": index["study"].nunique(), "patients": 8}
    assert list(index["image"]) == sorted(path.stem for path in phantom.rglob("*.dcm"))
    assert set(index["fold"]) == {0, 1, 2}
    assert index.groupby("patient")["fold"].nunique().max() == 1
    for number, image in enumerate(index["image"]):
        film = read_film(next(phantom.rglob(f"{image}.dcm")))
        for size in (32, 64):
            np.testing.assert_array_equal(dataset.pack(size)[number], film.square(size))


@pytest.mark.slow
def test_the_near_duplicate_and_the_box_beyond_its_film_are_found(context: Make, phantom: Path, s3_store: Store):
    given = context(phantom)
    prepare.run(given)
    _, done = given.open_work(Stage.PREPARE, works(s3_store)["index"])
    audit = json.loads(s3_store.get(done.outputs["audit.json"].key))
    assert len(audit["near_duplicates"]) == 1
    assert audit["across_patients"] == 1
    assert audit["clipped"] >= 1
    one, other, _ = audit["near_duplicates"][0]
    index = fetch_dataset(given, ()).index.set_index("image")
    assert index.loc[one, "patient"] != index.loc[other, "patient"]
    assert index.loc[one, "fold"] == index.loc[other, "fold"]
    assert (np.array([box for boxes in index["boxes"] for box in boxes]) >= 0).all()


@pytest.mark.slow
def test_the_quality_sheet_lies_with_the_run_and_needs_nothing_else(context: Make, phantom: Path, s3_store: Store):
    prepare.run(context(phantom))
    page = s3_store.get(layout.report(RUN, "quality.html")).decode()
    assert page.count("<figure>") >= 12
    assert "http" not in page
    assert "RLE Lossless" in page


@pytest.mark.slow
def test_all_three_sources_give_the_same_dataset(context: Make, phantom: Path, s3_store: Store):
    hashes = []
    for path in phantom.rglob("*.*"):
        s3_store.upload(path, f"source/{path.relative_to(phantom).as_posix()}")
    for source in (phantom, f"{s3_store.url}/source", "phantom:patients=8,seed=2,size=96"):
        given = context(source)
        prepare.run(given)
        hashes.append(fetch_dataset(given, ()).hash)
        assert not list(given.scratch.rglob("*.dcm"))  # what was fetched is gone
    assert len(set(hashes)) == 1


def test_a_second_run_decodes_nothing(context: Make, phantom: Path, monkeypatch: pytest.MonkeyPatch, s3_store: Store):
    prepare.run(context(phantom))
    first = works(s3_store)
    monkeypatch.setattr(shards, "decode_all", None)
    prepare.run(context(phantom))
    assert works(s3_store) == first
    prepare.run(context(phantom, folds=4))  # another split
    assert works(s3_store)["index"] != first["index"]


@pytest.mark.slow
def test_another_seed_of_training_keeps_the_split_and_another_of_the_folds_makes_one(context: Make, phantom: Path):
    hashes = []
    for change in ({}, {"seed": 2}, {"folds": Folds(count=3, seed=2)}):
        given = context(phantom)
        given = replace(given, experiment=given.experiment.model_copy(update=change))
        prepare.run(given)
        hashes.append(fetch_dataset(given, ()).hash)
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.slow
def test_another_size_changes_pixels_and_never_the_split(context: Make, phantom: Path):
    one, other = context(phantom, (32, 64)), context(phantom, (64, 96))
    hashes = []
    for given in (one, other):
        prepare.run(given)
        hashes.append(fetch_dataset(given, given.experiment.sizes).hash)
    assert hashes[0] == hashes[1]


@pytest.mark.slow
def test_a_stopped_prepare_goes_on_after_its_finished_shards(
    context: Make, phantom: Path, monkeypatch: pytest.MonkeyPatch, s3_store: Store
):
    monkeypatch.setattr(shards, "SHARD", 4)
    given = context(phantom)
    steps: list[int] = []

    def step(films: int) -> None:
        steps.append(films)
        if len(steps) == 6:
            given.stop.request()

    monkeypatch.setattr(given.progress, "step", step)
    with pytest.raises(Stopped):
        prepare.run(given)
    again = context(phantom)
    seen: list[int] = []
    monkeypatch.setattr(again.progress, "step", lambda films: seen.append(films))
    prepare.run(again)
    assert len(steps) == 6
    films = len(list(phantom.rglob("*.dcm")))
    assert len(seen) == (films - 4) + films, "all but the first shard are decoded, then the tags of all are read"
    whole = fetch_dataset(again, (32,))
    assert len(whole.pack(32)) == len(whole.index)


def test_films_that_cannot_be_read_are_listed_together(context: Make, films: Path):
    paths = sorted(films.rglob("*.dcm"))
    paths[0].write_bytes(b"no film")
    paths[5].write_bytes(paths[5].read_bytes()[:-9])
    with pytest.raises(BadInput) as refused:
        prepare.run(context(films))
    message = str(refused.value)
    assert "2 problems" in message
    assert f"{paths[0].stem}.dcm is not a DICOM file" in message
    assert f"{paths[5].stem}.dcm is truncated" in message


@pytest.mark.slow
def test_nothing_half_written_is_taken_for_finished(context: Make, films: Path, s3_store: Store):
    path = min(films.rglob("*.dcm"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(BadInput):
        prepare.run(context(films))
    assert not list(s3_store.list("work/"))
    path.write_bytes(whole)
    assert prepare.run(context(films))["films"] == len(list(films.rglob("*.dcm")))


def without_patients(films: Path) -> None:
    for path in films.rglob("*.dcm"):
        file = pydicom.dcmread(path)
        file.PatientID = ""
        file.save_as(path)


@pytest.mark.slow
def test_patients_come_from_a_table_where_the_films_have_none(context: Make, films: Path):
    expected = {path.stem: pydicom.dcmread(path, stop_before_pixels=True).PatientID for path in films.rglob("*.dcm")}
    without_patients(films)
    with pytest.raises(BadInput, match=r"have no PatientID .* name it as patients beside source"):
        prepare.run(context(films))
    given = context(films, patients="train_meta.csv")
    prepare.run(given)
    index = fetch_dataset(given, ()).index
    assert dict(zip(index["image"], index["patient"], strict=True)) == expected
    with pytest.raises(BadInput, match=r"data\.patients: .* has no file other\.csv"):
        prepare.run(context(films, patients="other.csv"))


@pytest.mark.slow
def test_films_beside_the_folds_need_patients_too(context: Make, phantom: Path, films: Path):
    without_patients(films)
    with pytest.raises(BadInput, match=r"(?s)^data\.extra\.0: .*film [0-9a-f]{12}.* name it as patients beside source"):
        prepare.run(context(phantom, extra=(ExtraFilms(source=str(films)),)))
    prepare.run(context(phantom, extra=(ExtraFilms(source=str(films), patients="train_meta.csv"),)))


@pytest.mark.slow
def test_the_table_of_patients_counts_and_disagreeing_films_are_grouped_by_both(
    context: Make, films: Path, s3_store: Store
):
    paths = sorted(films.rglob("*.dcm"))
    expected = {path.stem: pydicom.dcmread(path, stop_before_pixels=True).PatientID for path in paths}
    for number, path in enumerate(paths):  # as in an archive that names some patients by a tag and some not at all
        file = pydicom.dcmread(path)
        file.PatientID = "" if number % 2 else f"other {expected[path.stem]}"
        file.save_as(path)
    given = context(films, patients="train_meta.csv")
    prepare.run(given)
    index = fetch_dataset(given, ()).index
    assert dict(zip(index["image"], index["patient"], strict=True)) == expected
    assert index.groupby("patient")["fold"].nunique().max() == 1
    _, done = given.open_work(Stage.PREPARE, works(s3_store)["index"])
    audit = json.loads(s3_store.get(done.outputs["audit.json"].key))
    assert audit["disagreeing"] == len(paths[::2])


@pytest.mark.slow
def test_blank_films_are_reported_and_join_no_patients(context: Make, films: Path, s3_store: Store):
    prepare.run(clean := context(films))
    groups = fetch_dataset(clean, ()).index["group"].nunique()
    paths = sorted(films.rglob("*.dcm"))[:4]
    for path in paths:
        file = pydicom.dcmread(path)
        file.WindowCenter, file.WindowWidth = 1e6, 10  # far from all values
        file.pop("VOILUTSequence", None)
        file.pop("VOILUTFunction", None)
        file.save_as(path)
    prepare.run(given := context(films))
    _, done = given.open_work(Stage.PREPARE, works(s3_store)["index"])
    assert json.loads(s3_store.get(done.outputs["audit.json"].key))["blank"] == sorted(path.stem for path in paths)
    assert fetch_dataset(given, ()).index["group"].nunique() >= groups
    assert "blank" in s3_store.get(layout.report(RUN, "quality.html")).decode()


@pytest.mark.slow
def test_a_split_from_outside_is_taken_and_one_that_leaks_refused(context: Make, films: Path):
    given = context(films)
    prepare.run(given)
    index = fetch_dataset(given, ()).index
    index[["study", "fold"]].drop_duplicates().to_csv(films / "split.csv", index=False)
    taken = context(films, split="split.csv")
    prepare.run(taken)
    pd.testing.assert_series_equal(fetch_dataset(taken, ()).index["fold"], index["fold"])
    studies = pd.DataFrame({"study": sorted(index["study"].unique())})
    studies.assign(fold=[n % 3 for n in range(len(studies))]).to_csv(films / "split.csv", index=False)
    with pytest.raises(BadInput, match="leaks"):
        prepare.run(context(films, split="split.csv"))


def test_a_test_set_has_no_labels_and_no_folds(context: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write_phantom(tmp_path / "films", patients=3, seed=9, size=96, test=True)
    without_patients(folder)
    with pytest.raises(BadInput, match="training needs both"):
        prepare.run(context(folder))
    monkeypatch.setenv(environment.FROM_RUN, "other-run")
    given = context(folder)
    prepare.run(given)
    index = fetch_dataset(given, (32,)).index
    assert (index["fold"] == -1).all()
    assert index["study_class"].isna().all()
    assert (index["patient"] == index["study"]).all()


@pytest.mark.slow
def test_films_right_in_the_source_are_found_too(context: Make, films: Path):
    for study in (films / "train").iterdir():
        study.rename(films / study.name)
    (films / "train").rmdir()
    assert prepare.run(context(films))["films"] > 0


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda films: shutil.rmtree(films / "train"), "has no films: put them at <study>/<series>/<image>.dcm"),
        (lambda films: min(films.rglob("*.dcm")).rename(films / "train" / "a.dcm"), "a.dcm is not at"),
        (
            lambda films: shutil.copytree(min((films / "train").iterdir()), films / "train" / "twin"),
            "the image appears twice",
        ),
        (lambda films: min(films.rglob("*.dcm")).unlink(), "has no file"),
        (lambda films: (films / "link.dcm").symlink_to("nothing"), "link.dcm is a link to nothing"),
        (lambda films: os.mkfifo(films / "fifo.dcm"), "fifo.dcm is no regular file"),
        (
            lambda films: (one := min(films.rglob("*.dcm"))).rename(one.parent / os.fsdecode(b"a\xff.dcm")),
            "a\\udcff.dcm' has characters that cannot be printed, or is not UTF-8",
        ),
        (lambda films: (films / "train_image_level.csv").unlink(), "train_image_level.csv is missing"),
    ],
)
def test_sources_that_make_no_sense_are_refused(context: Make, films: Path, spoil: Callable[[Path], object], says: str):
    spoil(films)
    with pytest.raises(BadInput) as refused:
        prepare.run(context(films))
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("/nowhere/at/all", "does not exist"),
        ("s3://no-such-bucket-here/films", "There is no bucket no-such-bucket-here"),
    ],
)
def test_sources_that_are_not_there_are_refused(context: Make, source: str, says: str):
    with pytest.raises(BadInput, match=says):
        prepare.run(context(source))


def test_fewer_patients_than_folds_are_refused(context: Make, phantom: Path):
    with pytest.raises(BadInput, match=r"cannot fill 12 folds"):
        prepare.run(context(phantom, folds=12))


@pytest.mark.slow
def test_a_test_set_may_be_a_flat_folder_also_in_a_bucket(
    context: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3_store: Store
):
    nested = write_phantom(tmp_path / "nested", patients=3, seed=9, size=96, test=True)
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, film in enumerate(sorted(nested.rglob("*.dcm"))):
        name = film.name if number % 2 else film.name.upper()
        shutil.copy(film, flat / (name if number else "1.2.840.113"))  # an archive's name, without suffix
    (flat / "notes.txt").write_text("not a film")
    for file in flat.iterdir():
        s3_store.upload(file, f"hospital/{file.name}")
    monkeypatch.setenv(environment.FROM_RUN, "other-run")
    indexes = []
    for source in (nested, flat, f"{s3_store.url}/hospital"):
        prepare.run(given := context(source))
        indexes.append(fetch_dataset(given, ()).index)
    for index in indexes[1:]:
        assert sorted(index["pixels_sha256"]) == sorted(indexes[0]["pixels_sha256"])
        assert sorted(index["study"]) == sorted(indexes[0]["study"])
        assert "1.2.840.113" in set(index["image"])
    (flat / "broken.dcm").write_bytes(b"no film")
    with pytest.raises(BadInput, match=r"broken\.dcm is not a DICOM file"):
        prepare.run(context(flat))


def with_films_of(folder: Path, other: Path, count: int) -> None:
    """Add the first studies of another source, films and labels, under names of their own."""
    studies = sorted((other / "train").iterdir())[:count]
    for name in ("train_study_level.csv", "train_image_level.csv"):
        own, theirs = (pd.read_csv(place / name) for place in (folder, other))
        column = "StudyInstanceUID" if "StudyInstanceUID" in theirs else "id"
        chosen = theirs[theirs[column].str.removesuffix("_study").isin([study.name for study in studies])]
        pd.concat([own, chosen]).to_csv(folder / name, index=False)
    for study in studies:
        shutil.copytree(study, folder / "train" / study.name)


@pytest.mark.slow
def test_a_labelled_test_set_is_refused_or_counted_where_training_has_seen_its_patients(
    context: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3_store: Store
):
    hospital = write_phantom(tmp_path / "hospital", patients=6, seed=11, size=96)
    own = write_phantom(tmp_path / "own", patients=8, seed=12, size=96)
    prepare.run(context(own))
    monkeypatch.setenv(environment.FROM_RUN, RUN)
    other = {"run": "tested"}

    def predicting_run(source: Path, drop: bool = False) -> Context:
        made = context(source)
        settings = replace(made.settings, from_run=RUN, drop_overlap=drop)
        return replace(made, settings=settings, **other)

    prepare.run(given := predicting_run(hospital))
    index = fetch_dataset(given, ()).index
    assert (index["fold"] == -1).all()
    assert index["study_class"].notna().all()
    assert index["boxes"].map(len).sum() > 0
    assert overlap_of(given).left_out == []
    with_films_of(hospital, own, 2)
    with pytest.raises(BadInput, match=rf"run {RUN} was trained on . of these patients .*--overlap drop") as refused:
        prepare.run(predicting_run(hospital))
    assert "near-duplicate" in str(refused.value), "the copied films are also the same films"
    prepare.run(given := predicting_run(hospital, drop=True))
    copied = {study.name for study in sorted((own / "train").iterdir())[:2]}
    index = fetch_dataset(given, ()).index
    assert set(index.loc[index["image"].isin(overlap_of(given).left_out), "study"]) == copied
    for film in (hospital / "train").rglob("*.dcm"):  # near-duplicates under names of another patient
        elements = pydicom.dcmread(film)
        elements.PatientID = f"H{elements.PatientID}"
        elements.save_as(film)
    prepare.run(given := predicting_run(hospital, drop=True))
    found = overlap_of(given)
    assert found.patients == []
    assert {image for image, _, _ in found.duplicates} == set(found.left_out)
    assert len(found.duplicates) > 0


def overlap_of(context: Context) -> SharedFilms:
    done = context.open_work(Stage.PREPARE, context.prepared.works["overlap"])[1]
    return SharedFilms.read(fetch(context.store, done.outputs["overlap.json"], context.cache))


@pytest.mark.slow
def test_labels_of_some_films_or_of_none_leave_the_others_without(
    context: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    own = write_phantom(tmp_path / "own", patients=4, seed=12, size=96)
    prepare.run(context(own, folds=2))
    hospital = write_phantom(tmp_path / "hospital", patients=6, seed=11, size=96)
    labels = pd.read_csv(hospital / "train_study_level.csv")
    labels.iloc[3:].to_csv(hospital / "train_study_level.csv", index=False)
    images = pd.read_csv(hospital / "train_image_level.csv")
    gone = set(labels["id"].str.removesuffix("_study")[:3])
    images[~images["StudyInstanceUID"].isin(gone)].to_csv(hospital / "train_image_level.csv", index=False)
    monkeypatch.setenv(environment.FROM_RUN, RUN)
    prepare.run(given := replace(context(hospital), run="part"))
    index = fetch_dataset(given, ()).index
    assert set(index.loc[index["study_class"].isna(), "study"]) == gone
    assert "overlap" in given.prepared.works
    foreign = write_phantom(tmp_path / "foreign", patients=3, seed=13, size=96, test=True)
    prepare.run(given := replace(context(foreign), run="none"))
    without = given.prepared.works["index"]
    for name in ("train_study_level.csv", "train_image_level.csv"):
        shutil.copy(hospital / name, foreign / name)
    prepare.run(given := replace(context(foreign), run="none"))
    assert given.prepared.works["index"] == without, "labels of other films change nothing"
    assert "overlap" not in given.prepared.works


@pytest.mark.slow
def test_tags_are_kept_beside_the_index_without_decoding_a_film_again(context: Make, films: Path):
    first, *_ = sorted((films / "train").rglob("*.dcm"))
    elements = pydicom.dcmread(first)
    elements.PatientSex, elements.PatientAge, elements.Manufacturer = "f", "006M", "  Some   Maker "
    elements.save_as(first)
    prepare.run(given := context(films))
    works = given.prepared.works
    table = read_descriptions(given).set_index("image")
    assert list(table.loc[first.stem]) == ["F", 0.5, "PA", "DX", "Some Maker"]
    assert table["age"].between(0, 95).all()
    assert list(table.index) == list(fetch_dataset(given, ()).index["image"])
    given.store.delete_prefix(layout.work(Stage.PREPARE, works["descriptions"]))
    given.refer({kind: digest for kind, digest in works.items() if kind != "descriptions"}, {})
    assert read_descriptions(given) is None, "as an older version left it"
    before = {entry.key: entry.modified for entry in given.store.list("work/")}
    prepare.run(given)
    after = {entry.key: entry.modified for entry in given.store.list("work/")}
    assert {key: after[key] for key in before} == before
    assert given.prepared.works == works
