"""Folds: grouped by patient and near-duplicate, stratified by class and by whether there is a box, frozen.

The dealing is scikit-learn's ``StratifiedGroupKFold``, written out so that a new version of it cannot move a split.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.contract.exits import BadInput
from jobs.films.labels import read_table
from jobs.films.problems import refuse


def assign_folds(rows: pd.DataFrame, count: int, seed: int) -> list[int]:
    """A fold a film. Studies are dealt out, so a study of many films weighs no more than one of a single film.

    Args:
        rows: the columns study, study_class, boxes, group.
        count: how many folds.
        seed: the same seed and films give the same folds.

    Raises:
        BadInput: fewer groups than folds.
    """
    groups = rows["group"].nunique()
    if groups < count:
        raise BadInput(
            f"{groups} patients (or groups of near-duplicates) cannot fill {count} folds: "
            f"set folds.count to at most {groups}, or add patients."
        )
    boxed = rows["boxes"].map(len) > 0
    studies = rows.assign(boxed=boxed).groupby("study", sort=True)
    table = studies.agg(study_class=("study_class", "first"), boxed=("boxed", "any"), group=("group", "first"))
    strata = table["study_class"] + table["boxed"].map({True: " with box", False: " without"})
    fold = dict(zip(table.index, deal(strata.to_numpy(), table["group"].to_numpy(), count, seed), strict=True))
    return [fold[study] for study in rows["study"]]


def deal(strata: NDArray[Any], groups: NDArray[Any], count: int, seed: int) -> list[int]:
    """Deal groups out to folds so that each fold gets its share of each stratum.

    Groups come in random order, the most uneven first; each goes where the strata's shares then differ least between
    folds, and of several such folds to the one with the fewest members.

    Args:
        strata: (N,) the stratum of each member.
        groups: (N,) the group of each member.
        count: how many folds.
        seed: of the random order.

    Returns:
        A fold a member.
    """
    _, stratum, totals = np.unique(strata, return_inverse=True, return_counts=True)
    names, member = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), len(totals)))
    np.add.at(counts, (member, stratum), 1)
    order = np.arange(len(names))
    np.random.RandomState(seed).shuffle(order)
    order = order[np.argsort(-counts[order].std(axis=1), kind="stable")]
    dealt = np.zeros((count, len(totals)))
    fold_of = np.zeros(len(names), np.int64)
    for number in order:
        after = np.repeat(dealt[None], count, axis=0)
        after[np.arange(count), np.arange(count)] += counts[number]
        uneven = (after / totals).std(axis=1).mean(axis=1)
        best = 0
        for fold in range(1, count):
            level = np.isclose(uneven[fold], uneven[best]) and dealt[fold].sum() < dealt[best].sum()
            if uneven[fold] < uneven[best] or level:
                best = fold
        dealt[best] += counts[number]
        fold_of[number] = best
    return [int(fold) for fold in fold_of[member]]


def read_split(path: Path, rows: pd.DataFrame, count: int) -> list[int]:
    """A split made elsewhere: a CSV with the columns study and fold.

    Args:
        path: the CSV.
        rows: the columns study and group.
        count: how many folds the experiment has.

    Raises:
        BadInput: a study is missing or there twice, a fold is no number below ``count`` or has no study, or the split
            leaks: films of one patient, or near-duplicates, lie in several folds.
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
