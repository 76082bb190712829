"""The competition's two label files: the class of each study and the boxes of each film."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from jobs.contract.exits import BadInput
from jobs.contract.names import STUDY_CLASSES, STUDY_COLUMNS
from jobs.contract.text_files import read_csv
from jobs.films.problems import refuse

STUDY_FILE: Final = "train_study_level.csv"
IMAGE_FILE: Final = "train_image_level.csv"
Box = list[float]  # xmin ymin xmax ymax, original pixels


@dataclass(frozen=True)
class FilmLabel:
    """The study and boxes of a film, from the label files."""

    study: str
    boxes: list[Box]  # as written, not clipped


@dataclass(frozen=True)
class Labels:
    """The content of the label files. Ids are without their suffixes."""

    classes: dict[str, str]  # study → its class
    films: dict[str, FilmLabel]  # image → its label


@dataclass(frozen=True)
class Joined:
    """Films with their labels."""

    rows: pd.DataFrame  # the films' rows with study_class and boxes
    clipped: int  # number of boxes that extended beyond their film and were cut


def read_labels(folder: Path) -> Labels:
    """Read both label files of a folder.

    Raises:
        BadInput: a file or column is missing, an id occurs twice, a study has two classes or none, a film belongs to a
            study without a class, a label or a box is invalid. All problems are listed.
    """
    problems: list[str] = []
    labels = Labels(_classes(folder / STUDY_FILE, problems), _films(folder / IMAGE_FILE, problems))
    problems += [
        f"{IMAGE_FILE}: film {image} is of study {label.study}, which {STUDY_FILE} does not list"
        for image, label in labels.films.items()
        if label.study not in labels.classes
    ]
    refuse(f"The labels in {folder}", problems, "Correct the label files and run again.")
    return labels


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a CSV file as text; require these columns and at least one row.

    Raises:
        BadInput: the file cannot be read, is empty, or lacks a column.
    """
    if not path.exists():
        raise BadInput(f"{path} is missing; put it there, or name another folder.")
    content = read_csv(path)
    table = pd.DataFrame(content.rows, columns=content.columns, dtype=str)
    missing = [column for column in columns if column not in table]
    if missing:
        there = ", ".join(map(str, table))
        raise BadInput(
            f"{path} lacks the column {', '.join(missing)}; it has {there}. Rename what is meant, or add it."
        )
    if table.empty:
        raise BadInput(f"{path} has no rows.")
    return table


def check_ids(films: Mapping[str, str], labels: Labels) -> None:
    """Check that films and labels match. Does not read pixels.

    Args:
        films: image → study.
        labels: the label files.

    Raises:
        BadInput: a film has no label, a label has no film, a film lies in a study other than its label's, a study has
            no film. All problems are listed.
    """
    problems = [
        f"{IMAGE_FILE}: film {image} has no file {image}.dcm" for image in sorted(set(labels.films) - set(films))
    ]
    missing = sorted(set(labels.classes) - {label.study for label in labels.films.values()} - set(films.values()))
    problems += [f"{STUDY_FILE}: study {study} has no film" for study in missing]
    for image, study in films.items():
        label = labels.films.get(image)
        if label is None:
            problems.append(f"film {image} has no row in {IMAGE_FILE}")
        elif label.study != study:
            problems.append(f"film {image} lies in study {study}, its label says {label.study}")
    remedy = "Add what is missing, or take the stray rows or films out."
    refuse("Films and labels do not fit together", problems, remedy)


def labels_of(films: Mapping[str, str], labels: Labels) -> Labels | None:
    """Return the labels of the studies among some films; None where none of these has a label.

    Args:
        films: image → study.
        labels: the label files, which may label other studies as well.
    """
    studies = set(films.values()) & set(labels.classes)
    if not studies:
        return None
    classes = {study: name for study, name in labels.classes.items() if study in studies}
    return Labels(classes, {image: label for image, label in labels.films.items() if label.study in studies})


def join_labels(films: pd.DataFrame, labels: Labels) -> Joined:
    """Give every film its label, with boxes cut to the film.

    Args:
        films: at least the columns image, study, width, height; each film has a label (``check_ids``).
        labels: the label files.

    Raises:
        BadInput: boxes lie entirely outside their film. All are listed.
    """
    problems: list[str] = []
    boxes: list[list[Box]] = []
    clipped = 0
    for film in films[["image", "width", "height"]].to_dict("records"):
        written = labels.films[film["image"]].boxes
        cut = [clip(box, film["width"], film["height"]) for box in written]
        problems += [
            f"film {film['image']} of {film['width']} x {film['height']} pixels: box {_text(box)}"
            for box, inside in zip(written, cut, strict=True)
            if inside is None
        ]
        boxes.append([inside for inside in cut if inside is not None])
        clipped += sum(inside != box for box, inside in zip(written, cut, strict=True))
    refuse(f"{IMAGE_FILE}: boxes lie outside their film", problems, "Correct the boxes, or take them out.")
    study_class = films["study"].map(labels.classes)
    return Joined(films.assign(study_class=study_class, boxes=pd.Series(boxes, films.index, dtype=object)), clipped)


def clip(box: Box, width: int, height: int) -> Box | None:
    """Return the part of a box inside its film, or None if it lies outside."""
    xmin, ymin, xmax, ymax = box
    inside = [max(xmin, 0.0), max(ymin, 0.0), min(xmax, float(width)), min(ymax, float(height))]
    return inside if inside[0] < inside[2] and inside[1] < inside[3] else None


def parse_label(label: str) -> list[Box]:
    """Parse the boxes of ``opacity 1 xmin ymin xmax ymax …``; ``none 1 0 0 1 1`` has no boxes.

    Raises:
        ValueError: another class, an invalid or non-finite number, or a box without area.
    """
    words = label.split()
    if not words or len(words) % 6:
        raise ValueError(f"label {label!r} is no list of: class confidence xmin ymin xmax ymax")
    names = set(words[::6])
    if names == {"none"} and len(words) == 6:
        return []
    if names != {"opacity"}:
        raise ValueError(f"label names {' and '.join(sorted(names))}; it must be opacity boxes or one none")
    boxes = []
    for start in range(2, len(words), 6):
        box = [float(word) for word in words[start : start + 4]]
        if not all(math.isfinite(side) for side in box):
            raise ValueError(f"box {_text(box)} is not finite")
        if box[2] <= box[0] or box[3] <= box[1]:
            raise ValueError(f"box {_text(box)} has no area")
        boxes.append(box)
    return boxes


def _classes(path: Path, problems: list[str]) -> dict[str, str]:
    table = read_table(path, ("id", *STUDY_COLUMNS))
    problems += _id_problems(path, table["id"], "_study")
    classes = {}
    for row in table.to_dict("records"):
        values = [row[column].strip() for column in STUDY_COLUMNS]
        named = [name for name, value in zip(STUDY_CLASSES, values, strict=True) if value == "1"]
        if not set(values) <= {"0", "1"}:
            problems.append(f"{path.name}: {row['id']} has {', '.join(values)}; each must be 0 or 1")
        elif len(named) != 1:
            problems.append(f"{path.name}: {row['id']} has {' and '.join(named) or 'no class'}; it must have one class")
        classes[row["id"].removesuffix("_study")] = named[0] if named else ""
    return classes


def _films(path: Path, problems: list[str]) -> dict[str, FilmLabel]:
    table = read_table(path, ("id", "label", "StudyInstanceUID"))
    problems += _id_problems(path, table["id"], "_image")
    films = {}
    for row in table.to_dict("records"):
        boxes: list[Box] = []
        try:
            boxes = parse_label(row["label"])
        except ValueError as error:
            problems.append(f"{path.name}: {row['id']}: {error}")
        films[row["id"].removesuffix("_image")] = FilmLabel(row["StudyInstanceUID"], boxes)
    return films


def _id_problems(path: Path, ids: "pd.Series[str]", suffix: str) -> list[str]:
    problems = [f"{path.name}: id {name!r} must end with {suffix}" for name in ids if not name.endswith(suffix)]
    return problems + [f"{path.name}: id {name} is there twice" for name in ids[ids.duplicated()].unique()]


def _text(box: Box) -> str:
    return " ".join(f"{side:g}" for side in box)
