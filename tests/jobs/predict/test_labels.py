"""What of a teacher's predictions becomes a label."""

import numpy as np
import pandas as pd
import pytest

from jobs.contract.experiment import PseudoBoxes, PseudoLabels
from jobs.contract.names import STUDY_CLASSES
from jobs.predict.labels import labels_of
from jobs.scoring.combine import Merged
from jobs.scoring.fusion import FilmBoxes

ROWS = pd.DataFrame({"image": ["a", "b", "c", "d"], "study": ["s", "s", "t", "u"]})
STUDY = np.array([[0.8, 0.1, 0.05, 0.05], [0.3, 0.3, 0.2, 0.2], [0.0, 0.1, 0.4, 0.5]])
BOXES = FilmBoxes(
    np.array([0, 0, 1, 2]), np.array([[1, 1, 9, 9], [2, 2, 5, 5], [1, 2, 3, 4], [5, 5, 8, 8]], float),
    np.array([0.9, 0.2, 0.2, 0.01]),
)  # fmt: skip


def labels(study: np.ndarray | None = STUDY, keep: float = 0.0, boxes: PseudoBoxes | None = None) -> pd.DataFrame:
    merged = Merged(ROWS, pd.Index(["s", "t", "u"]), study, None, BOXES, {})
    return labels_of(ROWS, merged, PseudoLabels(run="teacher", keep=keep, boxes=boxes)).set_index("image")


def test_studies_have_soft_probabilities_and_unsure_ones_are_not_kept():
    table = labels(keep=0.45)
    assert table.loc["b", list(STUDY_CLASSES)].tolist() == pytest.approx(STUDY[0])
    assert table["kept"].to_dict() == {"a": True, "b": True, "c": False, "d": True}
    assert labels(None, keep=0.45)["kept"].all(), "a teacher of boxes alone knows no study"


def test_boxes_count_above_and_films_in_between_are_uncertain():
    table = labels(boxes=PseudoBoxes(above=0.5, below=0.1))
    assert table["boxes"].map(len).to_dict() == {"a": 1, "b": 0, "c": 0, "d": 0}
    assert table["certain"].to_dict() == {"a": True, "b": False, "c": True, "d": True}


def test_without_boxes_nothing_is_known_about_them():
    table = labels()
    assert not table["certain"].any()
    assert not table["boxes"].map(len).any()
