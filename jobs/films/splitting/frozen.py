"""Frozen splits: patients keep their folds and new ones are dealt to them; and the CSV file of a split."""

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.contract.exits import BadInput
from jobs.contract.needs.split import FrozenSplit
from jobs.films.labels import read_table
from jobs.films.problems import refuse
from jobs.films.splitting.folds import strata

COLUMNS: Final = ("patient", "study", "fold")
MOST_FOLDS: Final = 20  # as the experiment's folds.count


def keep_folds(rows: pd.DataFrame, split: FrozenSplit, seed: int) -> list[int]:
    """Return each film's fold: that of its patient or study in the split; groups without either are dealt.

    Args:
        rows: the columns image, study, study_class, boxes, patient, group.
        split: the folds that are kept.
        seed: of the order in which new groups are dealt.

    Raises:
        BadInput: films of one group have several folds in the split, or a fold is without a study.
    """
    named = [rows["patient"].map(split.patients), rows["study"].map(split.studies)]
    given = pd.concat([rows.assign(fold=folds) for folds in named]).dropna(subset=["fold"]).astype({"fold": int})
    problems = [
        " and ".join(
            f"patient {films['patient'].iloc[0]} (fold {fold}, film {films['image'].iloc[0]})"
            for fold, films in members.groupby("fold")
        )
        for _, members in given.groupby("group")
        if members["fold"].nunique() > 1
    ]
    refuse(
        "The frozen split has patients in different folds whose films must stay in one fold, because they share a "
        "PatientID or a study, or are near-duplicates",
        problems,
        "Remove the films that join them, or import a split under another name that has these patients in one fold.",
    )
    known = given.groupby("group")["fold"].first()
    studies = rows.groupby("study", sort=True).agg(group=("group", "first")).join(strata(rows))
    counts = pd.crosstab(studies["group"], studies["stratum"])
    folds = known.reindex(counts.index, fill_value=-1).to_numpy(np.int64)
    dealt = pd.Series(_deal(counts.to_numpy(np.float64), folds, split.count, seed), counts.index)
    if empty := sorted(set(range(split.count)) - set(dealt)):
        raise BadInput(
            f"The frozen split and {(folds < 0).sum()} new groups of patients leave fold {', '.join(map(str, empty))} "
            "without a study: add patients, or name another split in folds.frozen."
        )
    return [int(fold) for fold in dealt[rows["group"]]]


def _deal(counts: NDArray[np.float64], folds: NDArray[np.int64], number: int, seed: int) -> NDArray[np.int64]:
    """Deal the groups without a fold as scikit-learn's StratifiedGroupKFold does, which has no start to go on from.

    Those of the most uneven strata come first, and each goes where the strata are then spread most evenly over the
    folds; among equal folds to the one with the fewest studies.

    Args:
        counts: (groups, strata) studies.
        folds: (groups,) fold, -1 where there is none yet.
        number: number of folds.
        seed: of the order of groups that are equally uneven.

    Returns:
        (groups,) fold.
    """
    from sklearn.utils import check_random_state  # slow to import

    folds, total = folds.copy(), counts.sum(axis=0)
    filled = np.stack([counts[folds == fold].sum(axis=0) for fold in range(number)])
    order = np.flatnonzero(folds < 0)
    check_random_state(seed).shuffle(order)
    for group in order[np.argsort(-counts[order].std(axis=1), kind="stable")]:
        folds[group] = _most_even(filled, counts[group], total)
        filled[folds[group]] += counts[group]
    return folds


def _most_even(filled: NDArray[np.float64], studies: NDArray[np.float64], total: NDArray[np.float64]) -> int:
    """Return the fold with which studies (strata,) leave the strata most even, as StratifiedGroupKFold chooses it.

    Args:
        filled: (folds, strata) studies so far.
        studies: (strata,) of the group to deal.
        total: (strata,) of all groups.
    """
    tried = filled + np.eye(len(filled))[:, :, None] * studies  # (tried fold, folds, strata)
    spread, size = (tried / total).std(axis=1).mean(axis=1), filled.sum(axis=1)
    best = 0
    for fold in range(1, len(filled)):
        smaller = np.isclose(spread[fold], spread[best]) and size[fold] < size[best]
        if spread[fold] < spread[best] or smaller:
            best = fold
    return best


def frozen_sentence(rows: pd.DataFrame, split: FrozenSplit) -> str:
    """Say how many patients kept their fold, and where the others were dealt.

    Args:
        rows: the columns patient, study and fold.
        split: the split.
    """
    kept = rows["patient"].isin(split.patients) | rows["study"].isin(split.studies)
    new = rows[~kept].drop_duplicates("patient")["fold"].value_counts().sort_index()
    where = ", ".join(f"{count} to fold {fold}" for fold, count in new.items())
    gone = len(set(split.patients) - set(rows["patient"]))
    return (
        f"frozen split: {rows.loc[kept, 'patient'].nunique()} patients keep their folds; new patients dealt: "
        f"{new.sum()}{f' ({where})' if where else ''}; patients of the split without films here: {gone}"
    )


def read_frozen(path: Path) -> FrozenSplit:
    """Read the CSV file of a split.

    Raises:
        BadInput: a column is missing or unknown, a study is listed twice, a patient is in two folds, or the folds are
            not the numbers from 0 on.
    """
    table = read_table(path, COLUMNS)
    if unknown := [column for column in table if column not in COLUMNS]:
        raise BadInput(f"{path} has the column {unknown[0]}; the file of a split has {', '.join(COLUMNS)}: remove it.")
    bad = ~table["fold"].isin(map(str, range(MOST_FOLDS)))
    problems = [
        f"study {study}: fold {fold!r} is not one of 0 to {MOST_FOLDS - 1}"
        for study, fold in table.loc[bad, ["study", "fold"]].itertuples(index=False)
    ]
    table = table[~bad].astype({"fold": int})
    empty = (table["patient"] == "") | (table["study"] == "")
    problems += [f"row {number + 2} has no patient or no study" for number in table.index[empty]]
    problems += [f"study {study} is there twice" for study in table["study"][table["study"].duplicated()].unique()]
    problems += [
        f"patient {patient} is in the folds {', '.join(map(str, sorted(folds.unique())))}"
        for patient, folds in table.groupby("patient")["fold"]
        if folds.nunique() > 1
    ]
    count = max(int(table["fold"].max()) + 1, 2) if len(table) else 0
    problems += [f"fold {fold} has no study" for fold in sorted(set(range(count)) - set(table["fold"]))]
    refuse(f"The split {path}", problems, "Correct the file, or export it again: cv.py split export RUN FILE.")
    folds = [dict(zip(table[column], table["fold"].tolist(), strict=True)) for column in ("patient", "study")]
    return FrozenSplit(count=count, patients=folds[0], studies=folds[1])


def frozen_csv(index: pd.DataFrame) -> str:
    """Return the CSV file of the split of an index: a row per study, sorted."""
    return index[[*COLUMNS]].drop_duplicates().sort_values([*COLUMNS]).to_csv(index=False, lineterminator="\n")
