"""Films with their true and predicted boxes: the best, the worst, some at random."""

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
# Predicted boxes drawn beyond the number of true ones.
EXTRA_BOXES: Final = 2
# Below this a box is noise: YOLO gives hundreds of them on every film.
FAINTEST: Final = 0.01
# The ensemble writes a row's boxes by falling confidence; what comes later and is wrong is never drawn.
STRONGEST: Final = 16


@dataclass(frozen=True)
class Drawn:
    """A predicted box on a film: right where it found a true one first."""

    box: tuple[float, ...]
    confidence: float
    right: bool


@dataclass(frozen=True)
class Film:
    """What the gallery shows of a film.

    Attributes:
        image: its id.
        study_class: its study's class.
        said: study class → probability, likeliest first; empty without study classes.
        none: the probability that it shows no opacity.
        agreement: how far prediction and truth agree, 0 to 1.
        width: of the film in pixels.
        height: of the film in pixels.
        truth: its true boxes.
        boxes: the strongest predicted boxes, by falling confidence.
    """

    image: str
    study_class: str
    said: Mapping[str, float]
    none: float
    agreement: float
    width: int
    height: int
    truth: Sequence[Sequence[float]]
    boxes: Sequence[Drawn]


def films_of(index: pd.DataFrame, submission: Submission, results: Results) -> list[Film]:
    """Every film of ``index`` with what was said of it, in the order of the index."""
    said: dict[str, list[tuple[str, Drawn]]] = {one: [] for one in submission.ids}
    found = submission.detections
    place = np.arange(len(found.unit)) - np.searchsorted(found.unit, found.unit)
    kept = np.flatnonzero(results.right | (place < STRONGEST))
    columns = (found.unit, found.label, found.confidence, found.box, results.right)
    for unit, label, confidence, box, right in zip(*(one[kept].tolist() for one in columns), strict=True):
        said[submission.ids[unit]].append((ALL_CLASSES[label], Drawn(tuple(box), confidence, right)))
    studied = results.confusion is not None
    return [
        _film(row, said[film_id(row["image"])], said[study_id(row["study"])] if studied else [])
        for row in index.to_dict("records")
    ]


def _film(row: Mapping[Hashable, Any], of_film: list[tuple[str, Drawn]], of_study: list[tuple[str, Drawn]]) -> Film:
    truth = [tuple(box) for box in row["boxes"]]
    classes = {name: one.confidence for name, one in of_study}
    none = next((one.confidence for name, one in of_film if name == "none"), 0.0)
    boxes = [one for name, one in of_film if name == "opacity"]
    parts = [sum(one.confidence for one in boxes if one.right) / len(truth) if truth else none]
    shown = [one for one in boxes if one.right or one.confidence >= FAINTEST]
    if classes:
        parts.append(classes.get(row["study_class"], 0.0))
    return Film(
        image=row["image"],
        study_class=row["study_class"],
        said=dict(sorted(classes.items(), key=lambda one: -one[1])),
        none=none,
        agreement=sum(parts) / len(parts),
        width=int(row["width"]),
        height=int(row["height"]),
        truth=truth,
        boxes=sorted(shown, key=lambda one: -one.confidence)[: len(truth) + EXTRA_BOXES],
    )


def choose(films: Sequence[Film], count: int, seed: int) -> dict[str, list[Film]]:
    """The best, the worst and some random films, ``count`` of each.

    Two thirds of each group show an opacity, where there are so many: else the best would all be clear lungs, since few
    boxes are ever sure.
    """
    ranked = sorted(films, key=lambda film: (-film.agreement, film.image))
    order = np.random.default_rng(seed).permutation(len(films))
    return {
        "best": _mixed(ranked, count),
        "worst": _mixed(ranked[::-1], count),
        "random": _mixed([films[number] for number in order], count),
    }


def _mixed(films: Sequence[Film], count: int) -> list[Film]:
    boxed, clear = ([film for film in films if bool(film.truth) is shows] for shows in (True, False))
    share = min(len(boxed), max(math.ceil(count * 2 / 3), count - len(clear)))
    return [*boxed[:share], *clear[: count - share]]


def thumbnail(square: NDArray[np.uint8], film: Film) -> str:
    """A film's pixels, from its letterboxed square, as a small JPEG in a data address."""
    place = Letterbox(film.width, film.height, len(square))
    (left, top), (width, height) = place.offset, place.scaled
    pixels: NDArray[Any] = square[top : top + height, left : left + width]
    shrink = min(1.0, SIDE / max(width, height))
    if shrink < 1:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    _, code = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(code.tobytes()).decode()}"
