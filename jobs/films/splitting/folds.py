"""Folds: grouped by patient and near-duplicate, stratified by class and presence of boxes, and fixed in the index."""

import warnings
from pathlib import Path

import pandas as pd

from jobs.contract.exits import BadInput
from jobs.films.labels import read_table
from jobs.films.problems import refuse


def assign_folds(rows: pd.DataFrame, count: int, seed: int) -> list[int]:
    """Assign a fold to each film. Studies count once, however many films they have.

    Args:
        rows: the columns study, study_class, boxes, group.
        count: number of folds.
        seed: the same seed and films give the same folds.

    Raises:
        BadInput: fewer groups than folds, no stratum with a study for each fold, or a fold without a study.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # slow to import; not needed if prepare is done

    groups = rows["group"].nunique()
    if groups < count:
        raise BadInput(
            f"{groups} groups of films (by patient, PatientID, study and near-duplicate) cannot fill {count} folds: "
            f"set folds.count to at most {groups}, or add patients."
        )
    table = rows.groupby("study", sort=True).agg(group=("group", "first")).join(strata(rows))
    if (most := int(table["stratum"].value_counts().max())) < count:
        raise BadInput(
            f"No class has a study for each of {count} folds, the largest has {most}: "
            "lower folds.count, or add studies."
        )
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    folds = pd.Series(0, index=table.index)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # a rare class reaches as many folds as it can
        for number, (_, held_out) in enumerate(splitter.split(table, table["stratum"], table["group"])):
            folds.iloc[held_out] = number
    if empty := sorted(set(range(count)) - set(folds)):
        raise BadInput(
            f"With folds.seed={seed}, {groups} groups of patients leave fold {', '.join(map(str, empty))} of {count} "
            "without a study: set another folds.seed, lower folds.count, or add patients."
        )
    return [int(fold) for fold in folds[rows["study"]]]


def strata(rows: pd.DataFrame) -> "pd.Series[str]":
    """Return the stratum of each study, by study: its class, and whether one of its films has a box.

    Args:
        rows: the columns study, study_class, boxes.
    """
    studies = rows.assign(boxed=rows["boxes"].map(len) > 0).groupby("study", sort=True)
    table = studies.agg(study_class=("study_class", "first"), boxed=("boxed", "any"))
    return (table["study_class"] + table["boxed"].map({True: " with box", False: " without"})).rename("stratum")


def read_split(path: Path, rows: pd.DataFrame, count: int) -> list[int]:
    """Read a split made elsewhere: a CSV with the columns study and fold.

    Args:
        path: the CSV.
        rows: the columns study and group.
        count: number of folds of the experiment.

    Raises:
        BadInput: a study is missing or listed twice, a fold is not a number below ``count`` or has no study, or the
            split leaks: films of the same patient, or near-duplicates, lie in several folds.
    """
    table = read_table(path, ("study", "fold"))
    table["study"] = table["study"].str.removesuffix("_study")
    problems = [f"study {study} is there twice" for study in table["study"][table["study"].duplicated()].unique()]
    allowed = {str(number): number for number in range(count)}
    problems += [
        f"study {study}: fold {fold!r} is not one of 0 to {count - 1}"
        for study, fold in zip(table["study"], table["fold"], strict=True)
        if fold not in allowed
    ]
    missing = sorted(set(rows["study"]) - set(table["study"]))
    problems += [f"study {study} has no row" for study in missing]
    problems += [f"fold {number} has no study" for number in sorted(set(allowed) - set(table["fold"]))]
    refuse(f"The split {path}", problems, "Correct the file, or leave data.split out to have a split made.")
    folds = rows["study"].map(table.set_index("study")["fold"]).astype(int)
    leaks = [
        f"patient {members['patient'].iloc[0]}: studies {', '.join(sorted(members['study'].unique()))} "
        f"lie in the folds {', '.join(str(number) for number in sorted(folds[members.index].unique()))}"
        for _, members in rows.groupby("group")
        if folds[members.index].nunique() > 1
    ]
    refuse(
        f"The split {path} leaks: patients, or near-duplicates, lie in several folds",
        leaks,
        "Put all films of a patient, and near-duplicates of them, into one fold, or leave data.split out.",
    )
    return [int(value) for value in folds]
