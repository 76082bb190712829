"""Predicts packed films with a classifier."""

from collections.abc import Callable
from typing import Literal, assert_never

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from jobs.contract.experiment import Classifier
from jobs.films.dataset import Pack
from jobs.nets.classifier.net import ClassifierNet, class_probabilities
from jobs.nets.failures import explained
from jobs.nets.precision import autocast
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
    probabilities = np.empty((len(rows), len(model.classes)))
    with explained(model.inference.batch, pack.size, "inference.batch"):
        for start in range(0, len(rows), model.inference.batch):
            part = rows[start : start + model.inference.batch]
            films = torch.from_numpy(np.stack([pack[int(row)] for row in part])[:, None]).to(device)
            with autocast(model.precision, device):
                views = _views(films, model.inference.tta)
                outputs = [class_probabilities(net(view).logits.double(), model) for view in views]
            probabilities[start : start + len(part)] = torch.stack(outputs).mean(0).cpu().numpy()
            tick(len(part))
    return probabilities


def film_table(index: pd.DataFrame, model: Classifier, probabilities: Floats) -> pd.DataFrame:
    """Return the table of a classifier that the ensemble combines: ``image``, ``study`` and a column per class."""
    named = index[["image", "study"]].reset_index(drop=True)
    return pd.concat([named, pd.DataFrame(probabilities, columns=list(model.classes))], axis=1)


def _views(films: torch.Tensor, tta: Literal["none", "flip"]) -> list[torch.Tensor]:
    """The films (B, 1, S, S) as test-time augmentation shows them to the net; their probabilities are averaged."""
    match tta:
        case "none":
            return [films]
        case "flip":
            return [films, films.flip(3)]
        case _:
            assert_never(tta)
