# SPDX-License-Identifier: AGPL-3.0-only
"""What all works of the stage stand on: the detector, its fold, the films. Light until something is asked of it."""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from jobs.contract.digest import settings
from jobs.contract.exits import BadInput
from jobs.contract.experiment import Detector, inference_settings, training_settings
from jobs.contract.records import Output
from jobs.films.prepared import fetch_dataset
from jobs.nets.pretrained import find, pretrained
from jobs.runtime.context import Context
from jobs.runtime.work import Work

if TYPE_CHECKING:
    import torch

    from jobs.nets.yolo.data import DetectorFilms

# Raised by hand when the same inputs come to mean other weights, other boxes, or other candidates.
WEIGHTS_VERSION: Final = 1
BOXES_VERSION: Final = 1
SEARCH_VERSION: Final = 1


@dataclass(frozen=True)
class Task:
    """One detector and one fold of it.

    Attributes:
        context: the attempt.
        detector: what is trained.
        fold: the fold held out.
        dataset: hash of the dataset.
        start: the pretrained weights in the store that training begins with; None where it begins at random.
    """

    context: Context
    detector: Detector
    fold: int
    dataset: str
    start: Output | None

    @classmethod
    def of(cls, context: Context) -> "Task":
        """Look up what the task stands on.

        Raises:
            BadInput: prepare is not done, or the named weights are not in the store.
        """
        detector = context.experiment.detectors[context.model]
        dataset = fetch_dataset(context, ())
        start = find(context.store, detector.weights) if detector.weights else None
        return cls(context, detector, context.fold, dataset.hash, start)

    def trying(self, detector: Detector) -> "Task":
        """The same task with other settings, whose clock starts now."""
        return replace(self, detector=detector, context=replace(self.context, began=time.monotonic()))

    def search_work(self) -> Work:
        """The work of the search that begins with these settings."""
        inputs = {
            "version": SEARCH_VERSION,
            "start": self.weights_work().digest,
            "candidates": self.detector.candidates,
            "select": self.detector.inference.select,
        }
        return self.context.work("search", inputs)

    def weights_work(self) -> Work:
        """The work of training, named by all that the weights follow from."""
        return self.context.work("weights", self._training())

    def diverged_work(self) -> Work:
        """The record of a training that came to nothing, named likewise."""
        return self.context.work("diverged", self._training())

    def _training(self) -> dict[str, Any]:
        experiment = self.context.experiment
        return {
            "version": WEIGHTS_VERSION,
            "seed": experiment.seed,
            "training": training_settings(self.detector),
            "fold": self.fold,
            "data": settings(experiment.data, only={"siblings"}),
            "folds": experiment.folds.count,
            "dataset": self.dataset,
            "pretrained": self.start.sha256 if self.start else None,
        }

    def boxes_work(self, weights: str) -> Work:
        """The work of predicting the fold with the weights of a digest."""
        inputs = {
            "version": BOXES_VERSION,
            "weights": weights,
            "inference": inference_settings(self.detector),
            "dataset": self.dataset,
        }
        return self.context.work("oof", inputs)

    def train_films(self) -> "DetectorFilms":
        """The other folds' films at the training size, siblings treated as the experiment says.

        A detector has no loss but that of boxes, so a film that is masked out of it is left out.

        Raises:
            BadInput: none of them has a box.
        """
        return self._films(held_out=False, size=self.detector.size)

    def fold_films(self, size: int) -> "DetectorFilms":
        """The fold's films at a size.

        Raises:
            BadInput: none of them has a box.
        """
        return self._films(held_out=True, size=size)

    def untrained(self) -> "torch.nn.Module":
        """The net as its training begins."""
        from jobs.nets.yolo.model import initial

        name, context = self.detector.weights, self.context
        start = pretrained(context.store, name, context.cache).tensors if name else None
        return initial(self.detector, context.experiment.seed, start)

    def _films(self, held_out: bool, size: int) -> "DetectorFilms":
        from jobs.films.loader import unboxed_siblings
        from jobs.nets.yolo.data import DetectorFilms

        dataset = fetch_dataset(self.context, (size,))
        folds = dataset.index["fold"].to_numpy()
        chosen = folds == self.fold if held_out else (folds != self.fold) & (folds >= 0)
        if not held_out and self.context.experiment.data.siblings != "keep":
            chosen &= ~unboxed_siblings(dataset.index)
        films = DetectorFilms.of(dataset, chosen.nonzero()[0], size)
        if not any(len(boxes) for boxes in films.index["boxes"]):
            raise BadInput(
                f"fold {self.fold}: none of the {len(films)} films {'in' if held_out else 'outside'} it has a box, "
                "so a detector can neither learn nor be scored; use more films or fewer folds"
            )
        return films
