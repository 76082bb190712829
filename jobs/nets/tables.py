"""From a net's answers about films to the tables that the ensemble combines. Whatever runs the net; needs no torch."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.contract.experiment import Classifier, DetectorInference
from jobs.films.dataset import Pack
from jobs.films.letterbox import Letterbox, letterboxes
from jobs.scoring.metric import Floats
from jobs.scoring.suppression import Float32s, suppress

BOX_COLUMNS: Final = ("image", "xmin", "ymin", "xmax", "ymax", "confidence")

# A net, asked about the B films at these positions. A classifier answers probabilities (B, classes), a detector
# candidates (B, 5, n): centre, width and height in pixels of the square, and confidence.
Predictor = Callable[[range], NDArray[Any]]
Step = Callable[[int], None]


def squares(pack: Pack, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return films (B, 1, S, S) as they are stored."""
    return np.stack([pack[int(row)] for row in rows])[:, None]


def predict_classes(predictor: Predictor, films: int, model: Classifier, step: Step) -> Floats:
    """Return the probabilities (films, classes) of a classifier's answers, batch by batch.

    Args:
        predictor: the net.
        films: their number.
        model: its head and batch.
        step: called after each batch with its number of films; may raise to stop.
    """
    probabilities = np.empty((films, len(model.classes)))
    for positions in _batches(films, model.inference.batch):
        probabilities[positions.start : positions.stop] = predictor(positions)
        step(len(positions))
    return probabilities


def film_table(index: pd.DataFrame, model: Classifier, probabilities: Floats) -> pd.DataFrame:
    """Return a classifier's table: ``image``, ``study`` and a column per class."""
    named = index[["image", "study"]].reset_index(drop=True)
    return pd.concat([named, pd.DataFrame(probabilities, columns=list(model.classes))], axis=1)


def predict_boxes(
    predictor: Predictor, index: pd.DataFrame, size: int, settings: DetectorInference, step: Step
) -> pd.DataFrame:
    """Return a detector's table, a row per box that suppression keeps, batch by batch.

    Args:
        predictor: the net.
        index: one row per film: ``image``, ``width``, ``height``.
        size: pixels a side of the squares that the net sees.
        settings: batch, lowest confidence, suppression and number of boxes.
        step: called after each batch with its number of films; may raise to stop.

    Returns:
        ``BOX_COLUMNS``; films in order, then descending confidence; coordinates in pixels of the film.
    """
    names, placed = list(index["image"]), letterboxes(index, size)
    found = []
    for positions in _batches(len(index), settings.batch):
        for position, candidates in zip(positions, predictor(positions), strict=True):
            kept = suppress(candidates, settings.confidence, settings.iou, settings.max_boxes)
            found.append(_rows(names[position], placed[position], kept))
        step(len(positions))
    return pd.concat(found, ignore_index=True)


def _batches(films: int, batch: int) -> list[range]:
    return [range(start, min(start + batch, films)) for start in range(0, films, batch)]


def _rows(image: str, letterbox: Letterbox, kept: Float32s) -> pd.DataFrame:
    """Return a film's boxes in its own pixels, clipped to it; boxes wholly in the margin are dropped."""
    values = kept.astype(np.float64)
    corners = letterbox.to_film(values[:, :4]).clip(0, np.tile([letterbox.width, letterbox.height], 2))
    inside = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    rows = pd.DataFrame(np.hstack([corners, values[:, 4:5]])[inside], columns=list(BOX_COLUMNS[1:]))
    rows.insert(0, "image", image)
    return rows
