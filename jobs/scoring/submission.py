"""The competition's submission files: writing, reading, checking.

A file has the columns ``id,PredictionString``. A study's row is ``<study>_study,negative 0.9 0 0 1 1 typical …``, a
film's is ``<image>_image,none 0.4 0 0 1 1 opacity 0.7 xmin ymin xmax ymax …``.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np

from jobs.contract.exits import BadInput
from jobs.contract.names import ALL_CLASSES, CLASS_NUMBERS, FILM_CLASSES, STUDY_CLASSES, first_names
from jobs.contract.text_files import LARGEST_TABLE, parse_csv, read_text
from jobs.scoring.metric import Bools, Detections, Floats

COLUMNS = ["id", "PredictionString"]
STUDY_SUFFIX, FILM_SUFFIX = "_study", "_image"
# The box of every class but opacity.
UNIT_BOX = (0.0, 0.0, 1.0, 1.0)
# Coordinates are rounded to a hundredth of a pixel, so a box at the film's edge may exceed it by this much.
ROUNDING = 0.005
SHOWN = 5

_WITHOUT_BOX = [CLASS_NUMBERS[name] for name in (*STUDY_CLASSES, "none")]


@dataclass(frozen=True)
class Submission:
    """The rows of a submission.

    Attributes:
        ids: the rows' ids, in the file's order.
        detections: all predictions in the file's order; ``unit`` is the row's number.
    """

    ids: tuple[str, ...]
    detections: Detections


def study_id(study: str) -> str:
    """Return the submission's id of a study."""
    return f"{study}{STUDY_SUFFIX}"


def film_id(image: str) -> str:
    """Return the submission's id of a film."""
    return f"{image}{FILM_SUFFIX}"


def render(submission: Submission) -> str:
    """Return the file's text; the same submission gives the same bytes on every machine.

    Confidences keep nine significant digits, which is enough to distinguish any two single-precision numbers.
    """
    rows: list[list[str]] = [[] for _ in submission.ids]
    detections = submission.detections
    for row, label, confidence, box in zip(
        detections.unit.tolist(),
        detections.label.tolist(),
        detections.confidence.tolist(),
        detections.box.tolist(),
        strict=True,
    ):
        place = "0 0 1 1" if label in _WITHOUT_BOX else f"{box[0]:.2f} {box[1]:.2f} {box[2]:.2f} {box[3]:.2f}"
        rows[row].append(f"{ALL_CLASSES[label]} {confidence:.9g} {place}")
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")  # quotes an id that contains a comma or a quote
    writer.writerow(COLUMNS)
    writer.writerows([name, " ".join(row)] for name, row in zip(submission.ids, rows, strict=True))
    return text.getvalue()


def read(path: Path) -> Submission:
    """Read a submission file.

    Raises:
        BadInput: the file has other columns, or a row that cannot be parsed.
    """
    return parse(read_text(path, LARGEST_TABLE), str(path))


def parse(text: str, name: str) -> Submission:
    """Parse a submission's text; ``name`` is the file's name in errors. Raises as :func:`read` does."""
    table = parse_csv(text, name)
    if table.columns != COLUMNS:
        raise BadInput(f"{name} has the columns {', '.join(table.columns)}; a submission has {' and '.join(COLUMNS)}.")
    lengths: list[int] = []
    labels: list[int] = []
    numbers: list[Floats] = []
    for line, (row, prediction) in enumerate(table.rows, start=2):
        tokens = prediction.split()
        try:
            if len(tokens) % 6:
                raise ValueError(f"{len(tokens)} words, not a multiple of six")
            labels.extend(CLASS_NUMBERS[token] for token in tokens[::6])
            del tokens[::6]
            numbers.append(np.array([float(token) for token in tokens]))
        except KeyError as error:
            raise BadInput(
                f"{name}, line {line} ({row}): {error} is no label; use {', '.join(ALL_CLASSES)}."
            ) from error
        except ValueError as error:
            raise BadInput(
                f"{name}, line {line} ({row}): {error}. Each prediction is 'label confidence xmin ymin xmax ymax'."
            ) from error
        lengths.append(len(tokens) // 5)
    values = np.concatenate([np.zeros(0), *numbers]).reshape(-1, 5)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    detections = Detections(rows, np.array(labels, dtype=np.int64), values[:, 0], values[:, 1:])
    return Submission(tuple(row for row, _ in table.rows), detections)


def check(
    submission: Submission,
    studies: Iterable[str],
    films: Iterable[str],
    name: str,
    sizes: Mapping[str, tuple[int, int]] | None = None,
) -> None:
    """Check that a submission has one row for each study and film, and valid numbers.

    Args:
        submission: the submission.
        studies: the expected studies, without suffix.
        films: the expected films, without suffix.
        name: the file's name in the message.
        sizes: image → width and height in pixels, where known; boxes must lie within.

    Raises:
        BadInput: lists every kind of mistake, with the first rows that have it.
    """
    wanted = [study_id(study) for study in studies] + [film_id(film) for film in films]
    count = Counter(submission.ids)
    problems = _listed("ids are missing", [row_id for row_id in wanted if row_id not in count])
    problems += _listed("ids are unknown to the labels", sorted(set(count) - set(wanted)))
    problems += _listed("ids have several rows", [row_id for row_id, times in count.items() if times > 1])
    detections, ids = submission.detections, np.array(submission.ids, dtype=object)
    of_study = np.array([row_id.endswith(STUDY_SUFFIX) for row_id in submission.ids], dtype=bool)[detections.unit]
    study_label = np.isin(detections.label, [CLASS_NUMBERS[label] for label in STUDY_CLASSES])
    finite = np.isfinite(detections.confidence) & np.isfinite(detections.box).all(axis=1)
    box = detections.box
    unordered = finite & ~((box[:, 0] < box[:, 2]) & (box[:, 1] < box[:, 3]))
    for mistake, rows in (
        (
            f"rows of studies hold {' or '.join(FILM_CLASSES)}, or rows of films a study's class",
            of_study != study_label,
        ),
        ("rows hold a number that is not finite", ~finite),
        (
            "rows hold a confidence outside 0 to 1",
            finite & ~((detections.confidence >= 0) & (detections.confidence <= 1)),
        ),
        ("rows hold a box whose xmin, ymin is not above and left of its xmax, ymax", unordered),
        ("rows hold a box outside its film", finite & _outside(submission, sizes or {})),
    ):
        problems += _listed(mistake, list(dict.fromkeys(ids[detections.unit[rows]])))
    if problems:
        raise BadInput(f"{name} is no valid submission: {'; '.join(problems)}.")


def _outside(submission: Submission, sizes: Mapping[str, tuple[int, int]]) -> Bools:
    """Return which opacity boxes exceed their film, (n,); never where the film's size is unknown."""
    unknown = (np.inf, np.inf)
    edges = np.array(
        [sizes.get(row_id.removesuffix(FILM_SUFFIX), unknown) for row_id in submission.ids], dtype=np.float64
    )
    detections = submission.detections
    limit = edges.reshape(-1, 2)[detections.unit] + ROUNDING
    low, high = detections.box[:, :2] < -ROUNDING, detections.box[:, 2:] > limit
    known = np.isfinite(limit[:, 0]) & (detections.label == CLASS_NUMBERS["opacity"])
    outside: Bools = known & (low.any(axis=1) | high.any(axis=1))
    return outside


def _listed(mistake: str, rows: list[str]) -> list[str]:
    return [f"{len(rows)} {mistake} ({first_names(rows, SHOWN)})"] if rows else []


def only(submission: Submission, wanted: set[str]) -> Submission:
    """Return the rows of a submission whose ids are wanted, in the submission's order."""
    kept = [number for number, row in enumerate(submission.ids) if row in wanted]
    number = np.full(len(submission.ids), -1, dtype=np.int64)
    number[kept] = np.arange(len(kept))
    detections = submission.detections
    kept_boxes = number[detections.unit] >= 0
    return Submission(
        tuple(submission.ids[row] for row in kept),
        Detections(
            unit=number[detections.unit[kept_boxes]],
            label=detections.label[kept_boxes],
            confidence=detections.confidence[kept_boxes],
            box=detections.box[kept_boxes],
        ),
    )
