"""Figures of groups of patients, for metrics.json, the report and the model card."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from jobs.contract.names import STUDY_CLASSES
from jobs.evaluate.formatting import DASH, number
from jobs.evaluate.results import MatchedPredictions
from jobs.films.descriptions import groups
from jobs.scoring import as_json
from jobs.scoring.evaluation_set import EvaluationSet
from jobs.scoring.metric import Ints
from jobs.scoring.statistics.subgroups import ALPHA, FEWEST, Subgroup, examine


def examine_groups(
    index: pd.DataFrame,
    descriptions: pd.DataFrame,
    evaluation_set: EvaluationSet,
    matched: MatchedPredictions,
    classes: Sequence[str],
    resamples: int,
    seed: int,
) -> list[Subgroup]:
    """Score the groups that the films' tags give, by the headline figure.

    Args:
        index: the scored films.
        descriptions: a row per film of the dataset.
        evaluation_set: of the index.
        matched: the headline's predictions after matching; over all units, or over the films alone.
        classes: the headline's classes.
        resamples: resamples and permutations.
        seed: of both.
    """
    of_film = groups(descriptions).reindex(list(evaluation_set.films))
    of_study = _of_studies(index, of_film).reindex(list(evaluation_set.studies))
    films_alone = len(matched.patient) == len(evaluation_set.films)
    table = of_film if films_alone else pd.concat([of_study, of_film])
    members: dict[str, tuple[Sequence[str], Ints]] = {}
    for attribute in table:
        values = table[attribute].astype(object)
        names = sorted(values.dropna().unique())
        if len(names) > 1:  # a single group is the whole run
            members[str(attribute)] = (names, pd.Categorical(values, categories=names).codes.astype(np.int64))
    return examine(matched.table, matched.patient, _strata(evaluation_set), members, classes, resamples, seed)


def _of_studies(index: pd.DataFrame, of_film: pd.DataFrame) -> pd.DataFrame:
    """Return the group of each study: that of its films; null where they differ."""
    films = of_film.assign(study=index.set_index("image")["study"].reindex(of_film.index))
    grouped = films.groupby("study")
    first, kinds = grouped.first(), grouped.nunique()
    return first.where(kinds == 1, None)


def _strata(evaluation_set: EvaluationSet) -> Ints:
    """Return each patient's most frequent study class, (patients,)."""
    studies = len(evaluation_set.studies)
    counts = np.zeros((int(evaluation_set.patient.max()) + 1, len(STUDY_CLASSES)), np.int64)
    np.add.at(counts, (evaluation_set.patient[:studies], evaluation_set.truth.label[:studies]), 1)
    return np.asarray(counts.argmax(axis=1), np.int64)


def groups_json(found: Sequence[Subgroup], figure: str, studies: int) -> dict[str, Any]:
    """Return the groups as JSON.

    Args:
        found: the groups.
        figure: the figure that they are scored by.
        studies: number of studies, which are the first units; 0 where units are films alone.
    """
    return {
        "figure": figure,
        "tested": sum(group.tested for group in found),
        "level": ALPHA,
        "fewest_patients": FEWEST,
        "groups": [
            {
                "attribute": group.attribute,
                "group": group.name,
                "patients": group.patients,
                "studies": int((group.units < studies).sum()),
                "films": int((group.units >= studies).sum()),
                "score": as_json.number(group.score),
                "interval": as_json.bounds(group.interval),
                "classes": {name: as_json.number(ap) for name, ap in group.classes.items()},
                "expected": as_json.number(group.expected),
                "p": as_json.number(group.p),
                "flagged": group.flagged,
            }
            for group in found
        ],
    }


def group_rows(stored: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the groups of :func:`groups_json` as text, each attribute's together."""

    def text(value: float | None) -> str:
        return DASH if value is None else number(value)

    rows = []
    for group in stored["groups"]:
        around, p = group["interval"], group["p"]
        rows.append(
            {
                "attribute": group["attribute"],
                "group": group["group"],
                "patients": group["patients"],
                "studies": group["studies"],
                "films": group["films"],
                "score": text(group["score"]),
                "around": f"{text(around['low'])} – {text(around['high'])}" if around else DASH,
                "expected": text(group["expected"]),
                "p": "too few" if p is None else "p < 0.01" if p < 0.01 else f"p = {p:.2f}",
                "flagged": group["flagged"],
            }
        )
    return rows
