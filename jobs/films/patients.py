"""Which patient a study is of: from a table, and which films must stay in one fold."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from jobs.contract.exits import BadInput
from jobs.films.labels import read_table
from jobs.films.problems import refuse

PATIENT_FILE: Final = "train_meta.csv"  # in the competition's layout
STUDY_NAMES: Final = ("study", "studyid", "study_id", "studyinstanceuid")
PATIENT_NAMES: Final = ("patient", "patientid", "patient_id")


def read_patients(path: Path) -> dict[str, str]:
    """A table that maps studies to patients, such as the competition's ``train_meta.csv``.

    Args:
        path: a CSV with a column study, studyid or StudyInstanceUID and a column patient or patientid.

    Raises:
        BadInput: a column is missing, or a study has two patients.
    """
    table = read_table(path, ())
    study, patient = _column(path, table, STUDY_NAMES), _column(path, table, PATIENT_NAMES)
    pairs = table[[study, patient]].drop_duplicates()
    twice = pairs[study][pairs[study].duplicated()].unique()
    problems = [f"study {name} has the patients {', '.join(pairs[patient][pairs[study] == name])}" for name in twice]
    refuse(f"{path}", problems, "Give each study one patient.")
    return {str(s).removesuffix("_study"): str(p) for s, p in zip(pairs[study], pairs[patient], strict=True)}


def _column(path: Path, table: pd.DataFrame, names: tuple[str, ...]) -> str:
    for column in table:
        if str(column).lower() in names:
            return str(column)
    raise BadInput(f"{path} has no column {names[0]} (or {', '.join(names[1:])}); it has {', '.join(map(str, table))}.")


def group(films: pd.DataFrame, duplicates: Iterable[tuple[int, int]]) -> list[int]:
    """Number the groups of films that must stay in one fold: same patient, same study, or near-duplicates.

    Args:
        films: the columns patient and study.
        duplicates: pairs of row numbers.

    Returns:
        A group a film; groups are numbered in the order of their first film.
    """
    parent = list(range(len(films)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for rows in [*films.groupby("patient").indices.values(), *films.groupby("study").indices.values()]:
        for row in rows[1:]:
            parent[root(int(row))] = root(int(rows[0]))
    for one, other in duplicates:
        parent[root(one)] = root(other)
    return _numbered([root(row) for row in range(len(films))])


def _numbered(roots: Sequence[int]) -> list[int]:
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root, len(numbers)) for root in roots]
