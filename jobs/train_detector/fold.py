# SPDX-License-Identifier: AGPL-3.0-only
"""A detector and its held-out fold: the inputs of each piece of work, the films, the net before training.

Imports no PyTorch until films or nets are asked for.
"""

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

if TYPE_CHECKING:
    import torch

    from jobs.nets.yolo.data import DetectorFilms

# Raise by hand when the same inputs lead to other weights, boxes or candidates.
WEIGHTS_VERSION: Final = 1
BOXES_VERSION: Final = 1
SEARCH_VERSION: Final = 1


@dataclass(frozen=True)
class DetectorFold:
    """A detector and the fold that its training holds out.

    Attributes:
        context: the attempt.
        detector: the detector and its settings.
        fold: the held-out fold.
        dataset: the dataset's hash.
        pretrained: the pretrained weights in the store; None for random ones.
    """

    context: Context
    detector: Detector
    fold: int
    dataset: str
    pretrained: Output | None

    @classmethod
    def of(cls, context: Context) -> "DetectorFold":
        """Return the fold of a context.

        Raises:
            BadInput: prepare is not done, or the pretrained weights are not in the store.
        """
        detector = context.experiment.detectors[context.model]
        dataset = fetch_dataset(context, ())
        weights = find(context.store, detector.weights) if detector.weights else None
        return cls(context, detector, context.fold, dataset.hash, weights)

    def with_settings(self, detector: Detector) -> "DetectorFold":
        """Return the same fold with another detector; the cost of its work is measured from now on."""
        return replace(self, detector=detector, context=replace(self.context, began=time.monotonic()))

    def search_inputs(self) -> dict[str, Any]:
        """Return everything that a search starting from this detector depends on."""
        return {
            "version": SEARCH_VERSION,
            "start": self.context.work("weights", self.weights_inputs()).digest,
            "candidates": self.detector.candidates,
            "select": self.detector.inference.select,
        }

    def weights_inputs(self) -> dict[str, Any]:
        """Return everything that the weights depend on."""
        experiment = self.context.experiment
        return {
            "version": WEIGHTS_VERSION,
            "seed": experiment.seed,
            "training": training_settings(self.detector),
            "fold": self.fold,
            "data": settings(experiment.data, only={"siblings"}),
            "folds": experiment.folds.count,
            "dataset": self.dataset,
            "pretrained": self.pretrained.sha256 if self.pretrained else None,
        }

    def boxes_inputs(self, weights: str) -> dict[str, Any]:
        """Return everything that the out-of-fold boxes depend on; ``weights`` is the digest of the training."""
        return {
            "version": BOXES_VERSION,
            "weights": weights,
            "inference": inference_settings(self.detector),
            "dataset": self.dataset,
        }

    def training_films(self) -> "DetectorFilms":
        """Return the other folds' films at the training size, with ``data.siblings`` applied.

        The only loss of a detector is that of its boxes, so ``siblings: mask`` leaves films out as ``drop`` does.

        Raises:
            BadInput: none of them has a box.
        """
        return self._films(held_out=False, size=self.detector.size)

    def held_out_films(self, size: int) -> "DetectorFilms":
        """Return all films of the held-out fold, at a size.

        Raises:
            BadInput: none of them has a box.
        """
        return self._films(held_out=True, size=size)

    def untrained(self) -> "torch.nn.Module":
        """Create the net as it is before its first step."""
        from jobs.nets.yolo.model import initial

        name, context = self.detector.weights, self.context
        tensors = pretrained(context.store, name, context.cache).tensors if name else None
        return initial(self.detector, context.experiment.seed, tensors)

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
