"""Predicts packed films with a classifier."""

from collections.abc import Callable
from typing import Literal, assert_never

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.contract.experiment import Classifier
from jobs.films.dataset import Pack
from jobs.nets.classifier.net import ClassifierNet, class_probabilities
from jobs.nets.device.failures import explained
from jobs.nets.device.precision import autocast
from jobs.nets.tables import predict_classes, squares
from jobs.scoring.metric import Floats


@torch.inference_mode()
def predict(
    net: ClassifierNet,
    model: Classifier,
    pack: Pack,
    rows: NDArray[np.int64],
    device: str,
    tick: Callable[[int], None] = lambda films: None,
) -> Floats:
    """Predict probabilities (n, classes) for some rows of a pack, with the model's ``inference`` settings.

    Args:
        net: the net, on ``device``.
        model: its head, precision and inference settings; ``inference.size`` is not read, the pack has a size.
        pack: the films.
        rows: (n,) positions in the pack.
        device: ``cuda`` or ``cpu``.
        tick: called after each batch with its number of films.
    """
    net.eval()

    def predictor(positions: range) -> Floats:
        films = torch.from_numpy(squares(pack, rows[positions.start : positions.stop])).to(device)
        with autocast(model.precision, device):
            return np.asarray(predict_batch(net, model, films).cpu().numpy())

    with explained(model.inference.batch, pack.size, "inference.batch"):
        return predict_classes(predictor, len(rows), model, tick)


def predict_batch(net: ClassifierNet, model: Classifier, films: torch.Tensor) -> torch.Tensor:
    """Return the probabilities (B, classes), float64, of films (B, 1, S, S) uint8: the mean over the views of TTA."""
    views = _views(films, model.inference.tta)
    return torch.stack([class_probabilities(net(view).logits.double(), model) for view in views]).mean(0)


def _views(films: torch.Tensor, tta: Literal["none", "flip"]) -> list[torch.Tensor]:
    """The films (B, 1, S, S) as test-time augmentation shows them to the net; their probabilities are averaged."""
    match tta:
        case "none":
            return [films]
        case "flip":
            return [films, films.flip(3)]
        case _:
            assert_never(tta)
