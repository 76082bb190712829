"""The report's gallery: the best, the worst and some random films with their true and predicted boxes."""

import base64
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.contract.names import ALL_CLASSES
from jobs.evaluate.results import Results
from jobs.films.letterbox import Letterbox
from jobs.scoring.submission import Submission, film_id, study_id

# Longest side of a thumbnail in pixels, and its JPEG quality.
SIDE: Final = 320
QUALITY: Final = 78
# Predicted boxes shown beyond the number of true ones.
EXTRA_BOXES: Final = 2
# Lowest confidence shown: YOLO predicts hundreds of boxes below it on every film.
FAINTEST: Final = 0.01
# Boxes per row that are read (they come by falling confidence), besides the correct ones.
STRONGEST: Final = 16


@dataclass(frozen=True)
class PredictedBox:
    """A predicted box on a film; ``correct`` where it is a true positive."""

    box: tuple[float, ...]
    confidence: float
    correct: bool


LabelledBoxes = list[tuple[str, PredictedBox]]  # class and box


@dataclass(frozen=True)
class GalleryFilm:
    """A film of the gallery.

    Attributes:
        image: the image's id.
        study_class: the true class of its study.
        probabilities: study class → probability, highest first; empty without study classes.
        none: the probability that it shows no opacity.
        agreement: between prediction and truth, 0 to 1.
        width: pixels.
        height: pixels.
        truth: the true boxes.
        boxes: the predicted boxes of highest confidence, by falling confidence.
    """

    image: str
    study_class: str
    probabilities: Mapping[str, float]
    none: float
    agreement: float
    width: int
    height: int
    truth: Sequence[Sequence[float]]
    boxes: Sequence[PredictedBox]


def gallery_films(index: pd.DataFrame, submission: Submission, results: Results) -> list[GalleryFilm]:
    """Return every film of ``index`` with its predictions, in the order of the index."""
    predicted: dict[str, LabelledBoxes] = {row: [] for row in submission.ids}
    detections = submission.detections
    place = np.arange(len(detections.unit)) - np.searchsorted(detections.unit, detections.unit)
    kept = np.flatnonzero(results.correct | (place < STRONGEST))
    columns = (detections.unit, detections.label, detections.confidence, detections.box, results.correct)
    for unit, label, confidence, box, correct in zip(*(column[kept].tolist() for column in columns), strict=True):
        row = predicted[submission.ids[unit]]
        row.append((ALL_CLASSES[label], PredictedBox(tuple(box), confidence, correct)))
    has_studies = results.confusion is not None
    return [
        _film(row, predicted[film_id(row["image"])], predicted[study_id(row["study"])] if has_studies else [])
        for row in index.to_dict("records")
    ]


def _film(row: Mapping[Hashable, Any], of_film: LabelledBoxes, of_study: LabelledBoxes) -> GalleryFilm:
    truth = [tuple(box) for box in row["boxes"]]
    classes = {name: box.confidence for name, box in of_study}
    none = next((box.confidence for name, box in of_film if name == "none"), 0.0)
    boxes = [box for name, box in of_film if name == "opacity"]
    parts = [sum(box.confidence for box in boxes if box.correct) / len(truth) if truth else none]
    shown = [box for box in boxes if box.correct or box.confidence >= FAINTEST]
    if classes:
        parts.append(classes.get(row["study_class"], 0.0))
    return GalleryFilm(
        image=row["image"],
        study_class=row["study_class"],
        probabilities=dict(sorted(classes.items(), key=lambda item: -item[1])),
        none=none,
        agreement=sum(parts) / len(parts),
        width=int(row["width"]),
        height=int(row["height"]),
        truth=truth,
        boxes=sorted(shown, key=lambda box: -box.confidence)[: len(truth) + EXTRA_BOXES],
    )


def choose(films: Sequence[GalleryFilm], count: int, seed: int) -> dict[str, list[GalleryFilm]]:
    """Choose the best, the worst and some random films, ``count`` of each.

    Two thirds of each group show an opacity, where there are enough. Otherwise the best would all be films without one,
    since few boxes have a high confidence.
    """
    ranked = sorted(films, key=lambda film: (-film.agreement, film.image))
    order = np.random.default_rng(seed).permutation(len(films))
    return {
        "best": _mixed(ranked, count),
        "worst": _mixed(ranked[::-1], count),
        "random": _mixed([films[number] for number in order], count),
    }


def _mixed(films: Sequence[GalleryFilm], count: int) -> list[GalleryFilm]:
    boxed, clear = ([film for film in films if bool(film.truth) is shows] for shows in (True, False))
    share = min(len(boxed), max(math.ceil(count * 2 / 3), count - len(clear)))
    return [*boxed[:share], *clear[: count - share]]


def thumbnail(square: NDArray[np.uint8], width: int, height: int) -> str:
    """Return a film's pixels, cut from its letterboxed square, as the data URL of a small JPEG.

    Args:
        square: (size, size).
        width: of the film.
        height: of the film.
    """
    place = Letterbox(width, height, len(square))
    (left, top), (width, height) = place.offset, place.scaled
    pixels: NDArray[Any] = square[top : top + height, left : left + width]
    shrink = min(1.0, SIDE / max(width, height))
    if shrink < 1:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    _, code = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(code.tobytes()).decode()}"
