from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jobs.contract.exits import BadInput
from jobs.contract.needs.split import FrozenSplit
from jobs.films.splitting.folds import assign_folds
from jobs.films.splitting.frozen import frozen_csv, frozen_sentence, keep_folds, read_frozen
from jobs.films.splitting.patients import group
from tests.jobs.films.test_folds import cohort


def split_of(rows: pd.DataFrame, folds: list[int], path: Path) -> FrozenSplit:
    path.write_text(frozen_csv(rows.assign(fold=folds)))
    return read_frozen(path)


def test_without_new_patients_the_split_is_the_exported_one(tmp_path: Path):
    rows = cohort()
    folds = assign_folds(rows, 5, seed=1)
    split = split_of(rows, folds, tmp_path / "split.csv")
    assert keep_folds(rows, split, seed=1) == folds
    assert keep_folds(rows, split, seed=2) == folds
    assert frozen_sentence(rows.assign(fold=folds), split) == (
        "frozen split: 100 patients keep their folds; new patients dealt: 0; "
        "patients of the split without films here: 0"
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_split_that_freezes_nothing_is_dealt_as_scikit_learn_deals(seed: int):
    rows = cohort(seed=seed)
    nothing = FrozenSplit(count=5, patients={}, studies={})
    assert keep_folds(rows, nothing, seed) == assign_folds(rows, 5, seed)


def test_old_patients_stay_and_new_ones_keep_the_folds_even(tmp_path: Path):
    rows = cohort(200)
    old = rows["patient"].isin([f"p{number}" for number in range(120)])
    before = assign_folds(rows[old], 5, seed=1)
    split = split_of(rows[old], before, tmp_path / "split.csv")
    folds = np.array(keep_folds(rows, split, seed=1))
    assert folds[old].tolist() == before
    assert rows.assign(fold=folds).groupby("patient")["fold"].nunique().max() == 1
    assert folds.tolist() == keep_folds(rows, split, seed=1)
    studies = rows.assign(fold=folds).drop_duplicates("study")
    table = pd.crosstab(studies["fold"], studies["study_class"])
    assert (table.max() - table.min()).max() <= 3, "studies of a class in a fold"
    sentence = frozen_sentence(rows.assign(fold=folds), split)
    assert "120 patients keep their folds; new patients dealt: 80 (" in sentence


def test_new_patients_fill_the_fold_that_has_few(tmp_path: Path):
    rows = cohort(60)
    old = rows["patient"].isin([f"p{number}" for number in range(40)])
    lopsided = rows[old].drop_duplicates("patient").index[-2:]
    folds = rows["patient"].map(lambda patient: int(patient in set(rows.loc[lopsided, "patient"])))
    split = split_of(rows[old], folds[old].tolist(), tmp_path / "split.csv")
    dealt = np.array(keep_folds(rows, split, seed=1))[~old]
    assert (dealt == 1).mean() > 0.9


def test_a_study_keeps_its_fold_under_another_patient_and_a_patient_with_another_study(tmp_path: Path):
    rows = cohort(30)
    folds = assign_folds(rows, 3, seed=1)
    split = split_of(rows, folds, tmp_path / "split.csv")
    renamed = rows.assign(patient="new " + rows["patient"])
    assert keep_folds(renamed, split, seed=1) == folds
    follow_up = rows.assign(study="later " + rows["study"])
    assert keep_folds(follow_up, split, seed=1) == folds


def test_a_group_that_spans_two_frozen_folds_is_refused_with_both_patients(tmp_path: Path):
    rows = cohort(30)
    folds = assign_folds(rows, 3, seed=1)
    split = split_of(rows, folds, tmp_path / "split.csv")
    other = next(n for n in range(len(rows)) if folds[n] != folds[0])
    rows["group"] = group(rows.assign(tag=None), [(0, other)])
    one, two = (
        rf"patient {rows['patient'][n]} \(fold {folds[n]}, film {rows['image'][n][:-1]}\d\)" for n in (0, other)
    )
    with pytest.raises(BadInput, match=f"({one} and {two}|{two} and {one})") as refused:
        keep_folds(rows, split, seed=1)
    assert "near-duplicates" in str(refused.value)


def test_a_new_patient_joined_to_an_old_one_goes_to_its_fold(tmp_path: Path):
    rows = cohort(30)
    old = rows["patient"] != "p29"
    folds = assign_folds(rows[old], 3, seed=1)
    split = split_of(rows[old], folds, tmp_path / "split.csv")
    rows["group"] = group(rows.assign(tag=None), [(7, len(rows) - 1)])
    assert keep_folds(rows, split, seed=1)[-1] == folds[7]


def test_a_fold_whose_patients_are_gone_is_filled_or_refused(tmp_path: Path):
    rows = cohort(30)
    folds = pd.Series(assign_folds(rows, 3, seed=1))
    split = split_of(rows, folds.tolist(), tmp_path / "split.csv")
    rest = rows[folds.to_numpy() != 2]
    with pytest.raises(BadInput, match="and 0 new groups of patients leave fold 2 without a study: add patients"):
        keep_folds(rest, split, seed=1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("patient,study,fold\n", "has no rows"),
        ("patient,fold\np,0\n", "lacks the column study"),
        ("patient,study,fold,site\np,s,0,x\nq,t,1,x\n", "has the column site; the file of a split has patient, study"),
        ("patient,study,fold\np,s,0\np,t,1\n", "patient p is in the folds 0, 1"),
        ("patient,study,fold\np,s,0\nq,s,0\nr,t,1\n", "study s is there twice"),
        ("patient,study,fold\np,s,0\nq,t,2\n", "fold 1 has no study"),
        ("patient,study,fold\np,s,0\n", "fold 1 has no study"),
        ("patient,study,fold\np,s,0\nq,t,1.0\n", r"study t: fold '1.0' is not one of 0 to 19"),
        ("patient,study,fold\np,s,0\nq,t,20\n", r"study t: fold '20' is not one of 0 to 19"),
        ("patient,study,fold\np,s,-1\nq,t,1\n", r"study s: fold '-1' is not one of"),
        ("patient,study,fold\n,s,0\nq,t,1\n", "row 2 has no patient or no study"),
    ],
)
def test_files_that_are_no_split_are_refused(text: str, says: str, tmp_path: Path):
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(BadInput, match=says):
        read_frozen(tmp_path / "split.csv")


def test_ids_come_back_from_the_file_as_they_were(tmp_path: Path):
    rows = pd.DataFrame({"patient": ["007", 'a "b", c', "NA", "é "], "study": ["1", "02", "3e5", "null"]})
    split = split_of(rows, [0, 1, 2, 0], tmp_path / "split.csv")
    assert split.patients == {"007": 0, 'a "b", c': 1, "NA": 2, "é ": 0}
    assert split.studies == {"1": 0, "02": 1, "3e5": 2, "null": 0}
