"""``python -m jobs audit``: measure the leakage of a split by study from label files alone."""

import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from jobs.films.labels import read_labels
from jobs.films.problems import refuse
from jobs.films.splitting.leakage import FOLDS, SEEDS, Audit, audit
from jobs.films.splitting.patients import PATIENT_FILE, read_patients


def audit_labels(folder: Path, *, as_json: bool = False) -> Audit:
    """Measure and print the leakage of a split by study.

    Raises:
        BadInput: a label file or the table of patients is missing or malformed, or the table lacks a study.
    """
    labels = read_labels(folder)
    path = folder / PATIENT_FILE
    patients = read_patients(path)
    unknown = [f"study {study} is not in the table" for study in labels.classes if study not in patients]
    refuse(str(path), unknown, "Add these studies and their patients.")
    studies = pd.DataFrame({"study": labels.classes.keys(), "study_class": labels.classes.values()})
    result = audit(studies.assign(patient=studies["study"].map(patients)), len(labels.films))
    if as_json:
        print(json.dumps(asdict(result), indent=1))
    else:
        show(result, Console())
    return result


def show(result: Audit, console: Console) -> None:
    """Print an audit as text."""
    console.print(f"{result.films:,} films, {result.studies:,} studies, {result.patients:,} patients")
    console.print(
        f"{result.patients_with_several_studies:,} patients have several studies; two studies of one patient have the "
        f"same class {result.same_class:.0%} of the time, two at random {result.same_class_by_chance:.0%}"
    )
    table = Table(title=f"A split by study into {FOLDS} folds, {len(SEEDS)} seeds")
    table.add_column("fold")
    table.add_column("validation studies whose patient is in training", justify="right")
    for number, share in enumerate(result.folds):
        table.add_row(str(number), f"{share:.1%}")
    console.print(table)
    console.print(
        f"It leaks [bold]{result.leaked:.0%}[/bold] of the validation studies ({result.lowest:.0%} to "
        f"{result.highest:.0%}). A split by patient leaks none."
    )
