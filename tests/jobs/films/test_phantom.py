import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest

from jobs.contract.exits import BadInput
from jobs.contract.experiment.source import Phantom
from jobs.films.dicom.film import read_film, stored_values
from jobs.films.labels import read_labels
from jobs.films.phantom.files import write_phantom
from jobs.films.splitting.duplicates import near_duplicates, thumbnail

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom(tmp_path_factory.mktemp("phantom"), patients=50, seed=1, size=128, table=True)


@pytest.fixture(scope="module")
def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.dcm"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path):
    first = tree(write_phantom(tmp_path / "a", patients=3, seed=5, size=96))
    assert first == tree(write_phantom(tmp_path / "b", patients=3, seed=5, size=96))
    assert not set(first.values()) & set(tree(write_phantom(tmp_path / "c", patients=3, seed=6, size=96)).values())


def test_fifty_patients_have_at_least_eighty_films_of_all_four_classes(folder: Path, files: list[Path]):
    labels = read_labels(folder)
    patients = {row["patientid"] for row in rows(folder / "train_meta.csv")}
    assert len(files) == len(labels.films) >= 80
    assert len(patients) == 50
    assert min(Counter(labels.classes.values()).values()) >= 15


def test_the_layout_and_columns_are_the_competitions(folder: Path, files: list[Path]):
    assert list(rows(folder / "train_image_level.csv")[0]) == ["id", "boxes", "label", "StudyInstanceUID"]
    assert list(rows(folder / "train_study_level.csv")[0]) == [
        "id", "Negative for Pneumonia", "Typical Appearance", "Indeterminate Appearance", "Atypical Appearance",
    ]  # fmt: skip
    for path in files:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        assert header.SOPInstanceUID == path.stem
        assert path.relative_to(folder).parts[:3] == ("train", header.StudyInstanceUID, header.SeriesInstanceUID)


def test_every_quirk_of_real_archives_occurs(files: list[Path]):
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
    assert len({header.file_meta.TransferSyntaxUID for header in headers}) == 6
    assert {header.BitsStored for header in headers} == {8, 10, 12, 14, 16}
    assert {header.PhotometricInterpretation for header in headers} == {"MONOCHROME1", "MONOCHROME2"}
    assert {header.PixelRepresentation for header in headers} == {0, 1}
    for tag in ("RescaleSlope", "WindowWidth", "VOILUTFunction", "VOILUTSequence", "PixelPaddingValue"):
        assert 0 < sum(tag in header for header in headers) < len(headers)
    assert len({(header.Rows, header.Columns) for header in headers}) > len(headers) // 2


def test_of_a_study_with_several_films_only_one_carries_boxes(folder: Path):
    labels = read_labels(folder)
    films = Counter(label.study for label in labels.films.values())
    boxed = Counter(label.study for label in labels.films.values() if label.boxes)
    assert max(films.values()) > 1
    for study, study_class in labels.classes.items():
        assert boxed[study] == (0 if study_class == "negative" else 1)


def test_the_class_follows_from_number_and_place_of_the_opacities(folder: Path, files: list[Path]):
    labels = read_labels(folder)
    sizes = {path.stem: stored_values(path).shape for path in files}
    for image, label in labels.films.items():
        if not label.boxes:
            continue
        middles = [(box[1] + box[3]) / 2 / sizes[image][0] for box in label.boxes]
        match labels.classes[label.study]:
            case "typical":
                assert len(label.boxes) >= 2
            case "indeterminate":
                assert len(middles) == 1
                assert 0.35 < middles[0] < 0.6
            case "atypical":
                assert len(middles) == 1
                assert middles[0] < 0.4


def test_one_box_reaches_slightly_beyond_its_film(folder: Path):
    lowest = min(side for label in read_labels(folder).films.values() for box in label.boxes for side in box[:2])
    assert -10 < lowest < 0


def test_one_film_is_there_twice_under_two_patients_and_no_other(files: list[Path]):
    films = [read_film(path) for path in files]
    pairs = near_duplicates(np.stack([thumbnail(film.grey) for film in films]), 0.98)
    assert len(pairs) == 1
    assert films[pairs[0].one].facts.patient != films[pairs[0].other].facts.patient


def test_a_test_set_has_no_labels(tmp_path: Path):
    folder = write_phantom(tmp_path, patients=2, seed=1, size=96, test=True)
    assert {path.name for path in folder.iterdir()} == {"test"}


def test_a_source_is_parsed_with_defaults():
    assert Phantom.parse("phantom:patients=7,seed=3") == Phantom(patients=7, seed=3, size=320)
    assert Phantom.parse("phantom:") == Phantom()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("phantom:patient=7", "no key 'patient'"),
        ("phantom:patients=many", "whole number, not 'many'"),
        ("phantom:patients=1", "at least 2 patients"),
        ("phantom:size=8", "at least 96 pixels"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused(source: str, says: str):
    with pytest.raises(BadInput, match=says):
        Phantom.parse(source)
