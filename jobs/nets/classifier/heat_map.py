"""Heat maps: where on a film a classifier sees evidence of an opacity."""

from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from jobs.contract.experiment import Classifier
from jobs.films.letterbox import Letterbox, Pixel
from jobs.nets.classifier.net import ClassifierNet

Heat = NDArray[np.float32]

BLUR: Final = 0.03  # standard deviation of a gradient map's blur, as a fraction of the side
FOUND: Final = ("opacity", "typical", "indeterminate", "atypical")  # the classes that indicate an opacity


def heat_map(net: ClassifierNet, model: Classifier, square: NDArray[np.uint8], device: str) -> Heat:
    """Return the heat map (S, S) of a film's square (S, S).

    With an auxiliary head it is the predicted mask, from 0 to 1. Without, it is a gradient map, scaled to a maximum
    of 1: input times gradient of the log odds of the classes that indicate an opacity (Shrikumar et al. 2016),
    absolute and blurred. Unlike Grad-CAM it needs no choice of a layer, so it works with every timm backbone.
    """
    film = torch.from_numpy(square.copy())[None, None].to(device)
    if net.aux is not None:
        with torch.inference_mode():
            mask = net(film).mask
        cells = mask[0, 0].sigmoid().float().cpu().numpy()
        return np.asarray(cv2.resize(cells, square.shape, interpolation=cv2.INTER_LINEAR), np.float32)
    return _gradient_map(net, model, film)


def on_film(square: NDArray[Pixel], width: int, height: int) -> NDArray[Pixel]:
    """Crop a film's square (S, S), or its heat map, to the film: (scaled height, scaled width)."""
    box = Letterbox(width, height, len(square))
    (left, top), (across, down) = box.offset, box.scaled
    return square[top : top + down, left : left + across]


def _gradient_map(net: ClassifierNet, model: Classifier, film: torch.Tensor) -> Heat:
    pixels = film.float().requires_grad_()
    with torch.enable_grad():
        logits = net(pixels).logits[0]
        found = torch.tensor([name in FOUND for name in model.classes], device=logits.device)
        odds = logits[found].logsumexp(0) - logits[~found].logsumexp(0)
        (gradient,) = torch.autograd.grad(odds, pixels)
    heat = (gradient * pixels.detach()).abs()[0, 0].cpu().numpy().astype(np.float32)
    heat = np.asarray(cv2.GaussianBlur(heat, (0, 0), BLUR * len(heat)), np.float32)
    return heat / max(float(heat.max()), float(np.finfo(np.float32).tiny))
