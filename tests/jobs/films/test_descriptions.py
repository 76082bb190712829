"""What films' tags say of patients and machines."""

import pandas as pd
import pytest

from jobs.films.descriptions import groups
from jobs.films.dicom.description import Description, describe
from jobs.films.dicom.tags import HEAD, read_tags
from jobs.films.phantom.files import write_phantom


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ({}, Description()),
        ({"PatientSex": "m", "PatientAge": "058Y", "ViewPosition": "ap"}, Description("M", 58.0, "AP")),
        ({"PatientAge": "030D"}, Description(age=0.08)),
        ({"PatientBirthDate": "19800601", "StudyDate": "20200601"}, Description(age=40.0)),
        ({"PatientAge": "old", "PatientBirthDate": "198006", "StudyDate": "20200601"}, Description()),
        ({"PatientAge": "999Y", "PatientSex": "?"}, Description()),
        ({"PatientBirthDate": "20210601", "StudyDate": "20200601"}, Description()),
        ({"Manufacturer": " A \t B ", "Modality": "dx"}, Description(modality="DX", manufacturer="A B")),
    ],
)
def test_tags_become_a_description_or_nothing(tags, found):
    assert describe(tags) == found


def test_tags_beyond_the_head_are_read_from_the_whole_file(tmp_path):
    film = min(write_phantom(tmp_path, patients=2, seed=3, size=96).rglob("*.dcm"))
    content = film.read_bytes()
    whole = read_tags(content, lambda: b"")
    assert whole["Modality"] == "DX"
    cut = content[:400].ljust(HEAD, b"\0")  # as if private elements filled the head
    assert read_tags(cut, lambda: content) == whole
    with pytest.raises(ValueError, match="Error"):
        read_tags(b"no film", lambda: b"")


def test_ages_become_bands_and_rare_values_one_group():
    table = pd.DataFrame(
        {
            "image": [f"i{n}" for n in range(12)],
            "sex": ["F", "M", "O", None] * 3,
            "age": [0.5, 17.9, 18, 39, 40, 59, 60, 79, 80, 101, None, None],
            "view": ["PA"] * 12,
            "modality": [None] * 12,
            "manufacturer": ["A", "A", *(f"M{n}" for n in range(10))],
        }
    )
    found = groups(table)
    assert list(found["age"].dropna()) == [
        "0–17", "0–17", "18–39", "18–39", "40–59", "40–59", "60–79", "60–79", "80+", "80+",
    ]  # fmt: skip
    assert set(found["sex"].dropna()) == {"female", "male", "other"}
    assert found["manufacturer"].nunique() == 9
    assert (found["manufacturer"] == "other").sum() == 3
