# SPDX-License-Identifier: AGPL-3.0-only
"""A detector and its held-out fold: the inputs of each piece of work, the films, the net before training.

Imports no PyTorch until films or nets are asked for.
"""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Detector, inference_settings
from jobs.contract.stored.records import Done
from jobs.films.extra import JoinedFilms
from jobs.films.prepared import fetch_other_dataset
from jobs.nets.starts import Again, start_of
from jobs.nets.training import Training
from jobs.runtime.context import Context

if TYPE_CHECKING:
    import torch

    from jobs.films.dataset import Dataset
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
        training: what the training depends on.
    """

    context: Context
    training: Training

    @classmethod
    def of(cls, context: Context, again: Again | None = None) -> "DetectorFold":
        """Return the fold of a context.

        Args:
            context: the attempt.
            again: trains the start once more, see :func:`jobs.nets.starts.start_of`.

        Raises:
            BadInput: prepare is not done, or the weights to start from are not in the store or have seen the fold.
        """
        return cls(context, Training.of(context, start_of(context, again or _never)))

    @property
    def detector(self) -> Detector:
        """The detector and its settings."""
        assert isinstance(self.training.model, Detector)
        return self.training.model

    @property
    def fold(self) -> int:
        """The held-out fold."""
        return self.training.fold

    def with_settings(self, detector: Detector) -> "DetectorFold":
        """Return the same fold with another detector; the cost of its work is measured from now on."""
        context = replace(self.context, began=time.monotonic())
        return replace(self, training=self.training.of_model(detector), context=context)

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
        return self.training.inputs(WEIGHTS_VERSION)

    def boxes_inputs(self, weights: str) -> dict[str, Any]:
        """Return everything that the out-of-fold boxes depend on; ``weights`` is the digest of the training."""
        return {
            "version": BOXES_VERSION,
            "weights": weights,
            "inference": inference_settings(self.detector),
            "dataset": self.training.dataset,
        }

    def training_films(self) -> "DetectorFilms":
        """Return the other folds' films and those beside them at the training size, with ``data.siblings`` applied.

        The only loss of a detector is that of its boxes, so ``siblings: mask`` leaves films out as ``drop`` does.

        Raises:
            BadInput: none of them has a box.
        """
        return self._films(held_out=False, size=self.detector.size)

    def own_training_films(self) -> "DetectorFilms | None":
        """Return the training films that are not beside the folds; None if all are."""
        if not self.training.extra:
            return None
        return replace(self, training=replace(self.training, extra=())).training_films()

    def held_out_films(self, size: int) -> "DetectorFilms":
        """Return all films of the held-out fold, at a size.

        Raises:
            BadInput: none of them has a box.
        """
        return self._films(held_out=True, size=size)

    def untrained(self) -> "torch.nn.Module":
        """Create the net as it is before its first step."""
        from jobs.nets.yolo.model import initial

        first = self.training.first_weights(self.context)
        return initial(self.detector, self.training.seed, first.tensors if first else None)

    def _films(self, held_out: bool, size: int) -> "DetectorFilms":
        from jobs.films.loader import unboxed_siblings
        from jobs.nets.yolo.data import DetectorFilms

        if held_out:
            dataset: Dataset | JoinedFilms = fetch_other_dataset(self.context, self.training.index, (size,))
            chosen = dataset.index["fold"].to_numpy() == self.fold
        else:
            dataset = self.training.joined(self.context, size)
            chosen = dataset.training(self.fold, self.training.without) & dataset.index["certain"].to_numpy(bool)
            if self.training.siblings != "keep":
                chosen &= ~unboxed_siblings(dataset.index)
        films = DetectorFilms.of(dataset, chosen.nonzero()[0], size)
        if not any(len(boxes) for boxes in films.index["boxes"]):
            raise BadInput(
                f"fold {self.fold}: none of the {len(films)} films {'in' if held_out else 'outside'} it has a box, "
                "so a detector can neither learn nor be scored; use more films or fewer folds"
            )
        return films


def _never(training: Training) -> Done:
    raise AssertionError("only a task that trains may train a start again")
