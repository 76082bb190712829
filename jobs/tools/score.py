"""``python -m jobs score``: compute the competition's metric of any submission on any label files."""

import json
from pathlib import Path
from typing import Any, Final

import pandas as pd
from rich.console import Console
from rich.table import Table

from jobs.contract.exits import BadInput
from jobs.contract.names import ALL_CLASSES
from jobs.films.labels import read_labels
from jobs.films.splitting.patients import PATIENT_FILE, read_patients
from jobs.scoring.as_json import bounds, number
from jobs.scoring.evaluation_set import EvaluationSet
from jobs.scoring.figures import FIGURES
from jobs.scoring.metric import ENGINE, MatchTable, average_precisions, left_out, mean_ap
from jobs.scoring.statistics.intervals import bootstrap, interval, mean_over_classes
from jobs.scoring.submission import read, study_id

RESAMPLES: Final = 1000
SEED: Final = 1


def score_files(predictions: Path, labels: Path, *, part: bool = False, as_json: bool) -> None:
    """Score a submission file and print the figures.

    Args:
        predictions: the submission.
        labels: a folder with the competition's two label files. Intervals resample patients if the folder also has
            the table of patients, else studies.
        part: score only the studies that the submission has, with all their films.
        as_json: print JSON instead of a table.

    Raises:
        BadInput: a file is missing or cannot be parsed, or the submission covers other studies or films.
    """
    if not predictions.exists():
        raise BadInput(f"{predictions} does not exist: name a submission file with the columns id,PredictionString.")
    index, resampled = _index(labels)
    submission = read(predictions)
    labelled = {"studies": index["study"].nunique(), "films": len(index)}
    if part:
        index = index[index["study"].map(study_id).isin(submission.ids)]
        if index.empty:
            raise BadInput(f"{predictions} has no study of {labels}: use the labels of the same films.")
    evaluation_set = EvaluationSet.from_index(index)
    result = {
        "engine": ENGINE,
        "predictions": str(predictions),
        "studies": len(evaluation_set.studies),
        "films": len(evaluation_set.films),
        "labelled": labelled,
        **_figures(evaluation_set, evaluation_set.match(submission, str(predictions))),
        "interval": {"over": resampled, "level": 0.95, "resamples": RESAMPLES},
    }
    if as_json:
        print(json.dumps(result, indent=1, allow_nan=False))
    else:
        _show(result)


def _index(labels: Path) -> tuple[pd.DataFrame, str]:
    """Return one row per film, as ``EvaluationSet.from_index`` needs it, and the unit that intervals resample."""
    known = read_labels(labels)
    rows = pd.DataFrame(
        [(image, film.study, known.classes[film.study], film.boxes) for image, film in known.films.items()],
        columns=["image", "study", "study_class", "boxes"],
    )
    table = labels / PATIENT_FILE
    if not table.exists():
        return rows, "studies"
    return rows.assign(patient=rows["study"].map(read_patients(table)).fillna(rows["study"])), "patients"


def _figures(evaluation_set: EvaluationSet, table: MatchTable) -> dict[str, Any]:
    aps = average_precisions(table)
    samples = bootstrap(table, evaluation_set.patient, RESAMPLES, SEED)

    def summary(classes: tuple[str, ...]) -> dict[str, Any]:
        columns = [ALL_CLASSES.index(name) for name in classes]
        around = interval(mean_over_classes(samples[:, columns]))
        return {"score": number(mean_ap(aps, classes)), "interval": bounds(around)}

    return {
        # A submission has no film-level opacity, which film2 would need.
        "figures": {name: summary(classes) for name, classes in FIGURES.items() if name != "film2"},
        "classes": {name: summary((name,)) for name in ALL_CLASSES},
        "left_out": left_out(aps),
    }


def _show(result: dict[str, Any]) -> None:
    labelled = result["labelled"]["studies"]
    of = f" of {labelled} labelled ones" if labelled != result["studies"] else ""
    table = Table(title=f"{result['predictions']}: {result['studies']} studies{of}, {result['films']} films")
    for heading in ("", "score", f"95 % interval over {result['interval']['over']}"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, row in result["figures"].items():
        table.add_row(f"[bold]{name}", *_cells(row), end_section=name == list(result["figures"])[-1])
    for name, row in result["classes"].items():
        table.add_row(f"AP {name}", *_cells(row))
    console = Console()
    console.print(table)
    if result["left_out"]:
        console.print(f"Without ground truth, left out of every mean: {', '.join(result['left_out'])}.")
    console.print(result["engine"])


def _cells(row: dict[str, Any]) -> tuple[str, str]:
    score, around = row["score"], row["interval"]
    return (
        "-" if score is None else f"{score:.4f}",
        "-" if around is None else f"{around['low']:.4f} to {around['high']:.4f}",
    )
