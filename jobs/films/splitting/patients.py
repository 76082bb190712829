"""Patients of studies, and the groups of films that must stay in one fold."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from jobs.contract.exits import BadInput
from jobs.films.labels import read_table
from jobs.films.problems import refuse

PATIENT_FILE: Final = "train_meta.csv"  # in the competition's layout
STUDY_NAMES: Final = ("study", "studyid", "study_id", "studyinstanceuid")
PATIENT_NAMES: Final = ("patient", "patientid", "patient_id")


def read_patients(path: Path) -> dict[str, str]:
    """Read a table that maps studies to patients, such as the competition's ``train_meta.csv``.

    Args:
        path: a CSV with a column study, studyid or StudyInstanceUID and a column patient or patientid.

    Returns:
        The patient of each study. A row without a patient is left out, since its patient is not known.

    Raises:
        BadInput: a column is missing, or a study has two patients.
    """
    table = read_table(path, ())
    study, patient = _column(path, table, STUDY_NAMES), _column(path, table, PATIENT_NAMES)
    pairs = table[[study, patient]].apply(lambda column: column.str.strip())
    pairs[study] = pairs[study].str.removesuffix("_study")
    pairs = pairs[pairs[patient] != ""].drop_duplicates()
    twice = pairs[study][pairs[study].duplicated()].unique()
    problems = [f"study {name} has the patients {', '.join(pairs[patient][pairs[study] == name])}" for name in twice]
    refuse(f"{path}", problems, "Give each study one patient.")
    return dict(zip(pairs[study], pairs[patient], strict=True))


def _column(path: Path, table: pd.DataFrame, names: tuple[str, ...]) -> str:
    for column in table:
        if str(column).lower() in names:
            return str(column)
    raise BadInput(f"{path} has no column {names[0]} (or {', '.join(names[1:])}); it has {', '.join(map(str, table))}.")


def group(films: pd.DataFrame, duplicates: Iterable[tuple[int, int]]) -> list[int]:
    """Number the groups of films that must stay in one fold: same patient, PatientID or study, or near-duplicates.

    Args:
        films: the columns patient, study, and tag: the PatientID of the film's file, null if it has none.
        duplicates: pairs of row numbers.

    Returns:
        The group of each film. Groups are numbered from 0 in the order of their first film.
    """
    from scipy.sparse import coo_array  # slow to import
    from scipy.sparse.csgraph import connected_components

    row = pd.Series(np.arange(len(films)))
    links = np.array([*duplicates], np.int64).reshape(-1, 2).T
    for column in ("patient", "tag", "study"):
        first = row.groupby(films[column].to_numpy()).transform("first").fillna(row)  # each row links to itself if null
        links = np.hstack([links, np.stack([row, first]).astype(np.int64)])
    graph = coo_array((np.ones(links.shape[1]), (links[0], links[1])), shape=(len(films), len(films)))
    _, component = connected_components(graph, directed=False)
    numbers: list[int] = pd.factorize(component)[0].tolist()
    return numbers
