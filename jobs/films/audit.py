"""What a split by study leaks: validation studies whose patient also is in the training folds."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from jobs.contract.exits import BadInput
from jobs.films.labels import read_labels
from jobs.films.patients import read_patients
from jobs.films.problems import refuse

PATIENT_FILE: Final = "train_meta.csv"  # the competition's layout
SEEDS: Final = range(10)
FOLDS: Final = 5


@dataclass(frozen=True)
class Audit:
    """Shares are of the validation studies of a fold, 0 to 1."""

    films: int
    studies: int
    patients: int
    patients_with_several_studies: int
    same_class: float  # how often two studies of one patient have the same class
    same_class_by_chance: float  # how often two studies at random have
    leaked: float  # mean over folds and seeds of a stratified split by study
    lowest: float
    highest: float
    folds: tuple[float, ...]  # mean over seeds of each fold


def audit(studies: pd.DataFrame, films: int) -> Audit:
    """Split the studies by study, as one would without knowing the patients, and count.

    Args:
        studies: a row a study: study, study_class, patient.
        films: how many films they have.

    Raises:
        BadInput: fewer studies than folds.
    """
    if len(studies) < FOLDS:
        raise BadInput(f"{len(studies)} studies cannot be split into {FOLDS} folds; an audit needs more.")
    patient, classes = pd.factorize(studies["patient"])[0], pd.factorize(studies["study_class"])[0]
    shares = np.array([_leaks(patient, classes, seed) for seed in SEEDS])
    counts = pd.crosstab(patient, classes).to_numpy()  # studies a patient and class
    several = counts.sum(axis=1)
    pairs = int((several * (several - 1)).sum())
    return Audit(
        films=films,
        studies=len(studies),
        patients=len(several),
        patients_with_several_studies=int((several > 1).sum()),
        same_class=float((counts * (counts - 1)).sum() / pairs) if pairs else 0.0,
        same_class_by_chance=float(((counts.sum(axis=0) / len(studies)) ** 2).sum()),
        leaked=float(shares.mean()),
        lowest=float(shares.min()),
        highest=float(shares.max()),
        folds=tuple(float(share) for share in shares.mean(axis=0)),
    )


def _leaks(patient: NDArray[np.int64], classes: NDArray[np.int64], seed: int) -> list[float]:
    """Of each fold, the share of validation studies whose patient is in the training folds."""
    rng = np.random.default_rng(seed)
    # In random order within each class, studies are dealt out in turn.
    order = np.lexsort((rng.random(len(classes)), classes))
    fold = np.empty(len(classes), np.int64)
    fold[order] = np.arange(len(classes)) % FOLDS
    splits = [(patient[fold != number], patient[fold == number]) for number in range(FOLDS)]
    return [float(np.isin(held_out, rest).mean()) for rest, held_out in splits]


def audit_labels(folder: Path, *, as_json: bool = False) -> Audit:
    """Audit a folder of label files with its table of patients, and print what was found.

    Raises:
        BadInput: a label file or the table is missing or wrong, or a study is not in the table.
    """
    labels = read_labels(folder)
    path = folder / PATIENT_FILE
    patients = read_patients(path)
    unknown = [f"study {study} is not in the table" for study in labels.classes if study not in patients]
    refuse(str(path), unknown, "Add the studies with their patients.")
    studies = pd.DataFrame({"study": labels.classes.keys(), "study_class": labels.classes.values()})
    found = audit(studies.assign(patient=studies["study"].map(patients)), len(labels.films))
    if as_json:
        print(json.dumps(asdict(found), indent=1))
    else:
        show(found, Console())
    return found


def show(found: Audit, console: Console) -> None:
    """Print an audit for people."""
    console.print(f"{found.films:,} films, {found.studies:,} studies, {found.patients:,} patients")
    console.print(
        f"{found.patients_with_several_studies:,} patients have several studies; two studies of one patient have the "
        f"same class {found.same_class:.0%} of the time, two at random {found.same_class_by_chance:.0%}"
    )
    table = Table(title=f"A split by study into {FOLDS} folds, {len(SEEDS)} seeds")
    table.add_column("fold")
    table.add_column("validation studies whose patient is in training", justify="right")
    for number, share in enumerate(found.folds):
        table.add_row(str(number), f"{share:.1%}")
    console.print(table)
    console.print(
        f"It leaks [bold]{found.leaked:.0%}[/bold] of the validation studies ({found.lowest:.0%} to "
        f"{found.highest:.0%}). A split by patient leaks none."
    )
