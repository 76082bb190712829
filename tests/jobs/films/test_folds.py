from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from jobs.contract.exits import BadInput
from jobs.contract.names import STUDY_CLASSES
from jobs.films.splitting.folds import assign_folds, read_split
from jobs.films.splitting.patients import group, read_patients


def cohort(patients: int = 100, seed: int = 0) -> pd.DataFrame:
    """Patients with one to three studies of one or two films."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        for study in range(rng.integers(1, 4)):
            study_class = rng.choice(STUDY_CLASSES, p=[0.3, 0.4, 0.2, 0.1])
            for film in range(rng.integers(1, 3)):
                boxes = [] if study_class == "negative" or film else [[0.0, 0.0, 5.0, 5.0]]
                name = f"{patient}-{study}"
                rows.append({"image": f"{name}-{film}", "study": name, "patient": f"p{patient}",
                             "study_class": study_class, "boxes": boxes})  # fmt: skip
    frame = pd.DataFrame(rows)
    return frame.assign(group=group(frame.assign(tag=None), []))


def test_no_patient_is_in_two_folds_and_classes_are_even():
    rows = cohort()
    rows["fold"] = assign_folds(rows, 5, seed=1)
    assert rows.groupby("patient")["fold"].nunique().max() == 1
    assert set(rows["fold"]) == set(range(5))
    shares = pd.crosstab(rows["fold"], rows["study_class"], normalize="index")
    assert (shares.max() - shares.min()).max() < 0.15


def test_a_new_version_of_scikit_learn_moves_no_split():
    dealt = "".join(str(fold) for fold in assign_folds(cohort(30), 5, seed=1))
    assert dealt == (
        "111111114444444222411133333333333000000111000004444433333444442222220022232200004111113333304444400222222"
    )


def test_near_duplicates_of_two_patients_share_a_fold():
    rows = cohort()
    rows["group"] = group(rows.assign(tag=None), [(0, len(rows) - 1)])
    folds = assign_folds(rows, 5, seed=1)
    assert folds[0] == folds[-1]


def test_folds_are_frozen_by_the_seed_and_do_not_depend_on_the_rows_order():
    rows = cohort()
    first = dict(zip(rows["image"], assign_folds(rows, 5, seed=1), strict=True))
    shuffled = rows.sample(frac=1, random_state=3)
    assert first == dict(zip(shuffled["image"], assign_folds(shuffled, 5, seed=1), strict=True))
    assert list(first.values()) != assign_folds(rows, 5, seed=2)


def test_fewer_patients_than_folds_are_refused():
    with pytest.raises(BadInput, match=r"4 groups .* cannot fill 5 folds: set folds.count to at most 4"):
        assign_folds(cohort(4), 5, seed=1)


def test_a_fold_without_studies_is_refused(monkeypatch: pytest.MonkeyPatch):
    def split(splitter: object, table: pd.DataFrame, *_: object) -> list[tuple[list[int], list[int]]]:
        half = len(table) // 2
        return [([], [*range(half)]), ([], [*range(half, len(table))]), ([], [])]

    monkeypatch.setattr(StratifiedGroupKFold, "split", split)
    with pytest.raises(BadInput, match=r"With folds\.seed=17, 20 groups of patients leave fold 2 of 3 without a study"):
        assign_folds(cohort(20), 3, seed=17)


def test_too_few_studies_of_every_class_are_refused():
    rows = cohort(20).drop_duplicates("patient").groupby("study_class").head(2)
    with pytest.raises(BadInput, match=r"No class has a study for each of 5 folds, the largest has 2: lower"):
        assign_folds(rows, 5, seed=1)


def split(path: Path, rows: pd.DataFrame, folds: list[int]) -> Path:
    table = rows.assign(fold=folds)[["study", "fold"]].drop_duplicates()
    table.to_csv(path, index=False)
    return path


def test_a_split_made_elsewhere_is_taken_as_it_is(tmp_path: Path):
    rows = cohort(20)
    folds = assign_folds(rows, 3, seed=7)
    assert read_split(split(tmp_path / "split.csv", rows, folds), rows, 3) == folds


def test_a_split_that_leaks_is_refused_and_names_the_patient(tmp_path: Path):
    rows = cohort(20)
    folds = [number % 3 for number in pd.factorize(rows["study"])[0]]
    with pytest.raises(BadInput, match=r"leaks: patients.*\n  patient p\d+: studies .* lie in the folds 0, 1"):
        read_split(split(tmp_path / "split.csv", rows, folds), rows, 3)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("study,fold\ns1,0\n", "study s2 has no row"),
        ("study,fold\ns1,0\ns2,2\n", "study s2: fold '2' is not one of 0 to 1"),
        ("study,fold\ns1,0\ns1,1\ns2,1\n", "study s1 is there twice"),
        ("study,fold\ns1,0\ns2,0\n", "fold 1 has no study"),
        ("study,part\ns1,0\n", "lacks the column fold"),
    ],
)
def test_a_split_that_makes_no_sense_is_refused(tmp_path: Path, table: str, says: str):
    path = tmp_path / "split.csv"
    path.write_text(table)
    rows = pd.DataFrame({"study": ["s1", "s2"], "patient": ["a", "b"], "group": [0, 1]})
    with pytest.raises(BadInput, match=says):
        read_split(path, rows, 2)


def test_groups_follow_patient_study_and_duplicates_in_chains():
    films = pd.DataFrame({"patient": list("aabcd"), "study": list("12234"), "tag": None})
    assert group(films, []) == [0, 0, 0, 1, 2]
    assert group(films, [(4, 3)]) == [0, 0, 0, 1, 1]
    assert group(films, [(4, 3), (3, 0)]) == [0, 0, 0, 0, 0]
    assert group(films.assign(tag=pd.Series(["x", None, "y", "x", None], dtype=object)), []) == [0, 0, 0, 0, 1]


def test_a_table_of_patients_is_read_by_any_of_its_usual_names(tmp_path: Path):
    path = tmp_path / "meta.csv"
    for header in ("patientid,studyid", "PatientID,StudyInstanceUID", "patient,study"):
        path.write_text(f"{header}\np1,s1\np1,s2_study\np1,s1\n")
        assert read_patients(path) == {"s1": "p1", "s2": "p1"}


def test_a_study_of_two_patients_is_refused(tmp_path: Path):
    path = tmp_path / "meta.csv"
    path.write_text("patient,study\np1,s1\np2,s1\n")
    with pytest.raises(BadInput, match="study s1 has the patients p1, p2"):
        read_patients(path)
    path.write_text("person,study\np1,s1\n")
    with pytest.raises(BadInput, match="has no column patient"):
        read_patients(path)
