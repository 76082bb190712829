"""Films beside the folds joined to a dataset: more rows after its own, and more films after its own in a pack."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.contract.names import STUDY_CLASSES
from jobs.films.dataset import Dataset, Pack


@dataclass(frozen=True)
class Beside:
    """Films beside the folds.

    Attributes:
        dataset: the films, at the size to train at.
        labels: parquet of a teacher's labels: ``image``, ``kept``, the study classes' probabilities, ``boxes`` and
            ``certain``, whether the boxes are known; None where the films have their own labels.
        without: images that are not trained on.
    """

    dataset: Dataset
    labels: Path | None
    without: tuple[str, ...]

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The films' rows in the columns of an index, and of :class:`JoinedFilms`."""
        rows = self.dataset.index.assign(fold=-1, beside=True, soft=None, certain=True)
        chosen = ~rows["image"].isin(self.without)
        if self.labels is None:
            return rows.assign(chosen=chosen)
        given = pd.read_parquet(self.labels).set_index("image").loc[rows["image"]]
        soft = given[list(STUDY_CLASSES)].to_numpy(np.float64)
        known = ~np.isnan(soft).any(axis=1)
        likeliest = np.where(known, np.nan_to_num(soft).argmax(axis=1), 0)
        classes = pd.Series([STUDY_CLASSES[number] for number in likeliest], rows.index, dtype=object)
        return rows.assign(
            study_class=classes.where(pd.Series(known, rows.index), None),
            soft=pd.Series([*soft], rows.index, dtype=object).where(pd.Series(known, rows.index), None),
            boxes=pd.Series([[list(map(float, box)) for box in boxes] for boxes in given["boxes"]], rows.index),
            certain=given["certain"].to_numpy(bool),
            chosen=chosen & given["kept"].to_numpy(bool),
        )


class JoinedFilms:
    """A dataset with films beside its folds. Its own films keep their positions.

    Args:
        own: the dataset.
        beside: the films beside it.
    """

    def __init__(self, own: Dataset, beside: Sequence[Beside]) -> None:
        self.own, self.beside = own, beside

    @cached_property
    def index(self) -> pd.DataFrame:
        """The rows of all films, with ``beside``, ``soft`` (four probabilities or None), ``certain`` and ``chosen``."""
        own = self.own.index.assign(beside=False, soft=None, certain=True, chosen=True)
        return pd.concat([own, *(one.rows for one in self.beside)], ignore_index=True) if self.beside else own

    def pack(self, size: int) -> Pack:
        """Open all films at a size in pixels."""
        return Pack.joined([self.own.pack(size), *(one.dataset.pack(size) for one in self.beside)])

    def training(self, fold: int, without: Sequence[str]) -> NDArray[np.bool_]:
        """Return which films (n,) a fold trains on."""
        index = self.index
        folds = index["fold"].to_numpy()
        others = ((folds != fold) & (folds >= 0)) | (index["beside"] & index["chosen"]).to_numpy(bool)
        return np.asarray(others & ~index["image"].isin(list(without)).to_numpy(), np.bool_)


def soft_labels(rows: pd.DataFrame) -> NDArray[np.float32] | None:
    """Return probabilities of the study classes (n, 4), of a film's own label 1; None if all have their own label."""
    if "soft" not in rows or rows["soft"].isna().all():
        return None
    own: Any = np.eye(len(STUDY_CLASSES))
    return np.array(
        [
            own[STUDY_CLASSES.index(label)] if soft is None else soft
            for soft, label in zip(rows["soft"], rows["study_class"], strict=True)
        ],
        np.float32,
    )
