# SPDX-License-Identifier: AGPL-3.0-only
"""What both works of the stage stand on: the detector, its fold, the films."""

from dataclasses import dataclass

import numpy as np
import torch

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Detector
from jobs.films.dataset import Dataset
from jobs.films.prepared import fetch_dataset
from jobs.nets.weights import Pretrained, pretrained
from jobs.nets.yolo.data import Films
from jobs.nets.yolo.model import initial
from jobs.runtime.context import Context


@dataclass(frozen=True)
class Task:
    """One detector and one fold of it.

    Attributes:
        context: the attempt.
        detector: what is trained.
        fold: the fold held out.
        dataset: with the packs of the training size and the inference size.
        start: the pretrained weights training begins with, None where it begins at random.
    """

    context: Context
    detector: Detector
    fold: int
    dataset: Dataset
    start: Pretrained | None

    @classmethod
    def of(cls, context: Context) -> "Task":
        """Fetch what the task needs.

        Raises:
            BadInput: prepare is not done, or the named weights are not in the store.
        """
        assert context.model is not None
        assert context.fold is not None
        detector = context.experiment.detectors[context.model]
        dataset = fetch_dataset(context, {detector.size, detector.inference_size})
        start = pretrained(context.store, detector.weights, context.scratch) if detector.weights else None
        return cls(context, detector, context.fold, dataset, start)

    def train_films(self) -> Films:
        """The other folds' films, at the training size.

        Raises:
            BadInput: none of them has a box.
        """
        folds = self.dataset.index["fold"].to_numpy()
        return self._films((folds != self.fold) & (folds >= 0), self.detector.size, "the other folds")

    def fold_films(self, size: int) -> Films:
        """The fold's films at a size.

        Raises:
            BadInput: none of them has a box.
        """
        folds = self.dataset.index["fold"].to_numpy()
        return self._films(folds == self.fold, size, "the fold")

    def untrained(self) -> torch.nn.Module:
        """The net as its training begins."""
        return initial(self.detector, self.context.experiment.seed, self.start.tensors if self.start else None)

    def _films(self, chosen: np.typing.NDArray[np.bool_], size: int, name: str) -> Films:
        films = Films.of(self.dataset, np.flatnonzero(chosen), size)
        if not any(len(boxes) for boxes in films.index["boxes"]):
            raise BadInput(
                f"fold {self.fold}: of {len(films)} films of {name} none has a box, so a detector can neither learn nor be "
                "scored; use more films or fewer folds"
            )
        return films
