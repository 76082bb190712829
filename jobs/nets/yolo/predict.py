# SPDX-License-Identifier: AGPL-3.0-only
"""Predict boxes in the films' own pixels, and score them."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from ultralytics.utils.torch_utils import scale_img

from jobs.contract.exits import BadInput
from jobs.contract.experiment import DetectorInference
from jobs.nets.device.failures import explained
from jobs.nets.tables import BOX_COLUMNS, Step, predict_boxes
from jobs.nets.yolo.data import DetectorFilms
from jobs.nets.yolo.model import supports_tta
from jobs.scoring import metric
from jobs.scoring.suppression import Float32s

PASSES: Final = ((1.0, None), (0.83, 3), (0.67, None))  # ultralytics' test-time augmentation: scale, axis to mirror
STRIDE: Final = 32  # pixels of a detector's coarsest cell


@dataclass(frozen=True)
class Prediction:
    """A net's predictions for some films.

    Attributes:
        boxes: ``BOX_COLUMNS``; films in order, then descending confidence; coordinates in pixels of the film.
        loss: the training loss on them, averaged over films; NaN if not requested.
    """

    boxes: pd.DataFrame
    loss: float


def predict(
    net: torch.nn.Module,
    films: DetectorFilms,
    settings: DetectorInference,
    device: str,
    step: Step,
    *,
    tta: bool = False,
    loss: bool = False,
    knob: str = "inference.batch",
) -> Prediction:
    """Predict films batch by batch, in single precision.

    Args:
        net: the net, on any device, in eval mode.
        films: the films to predict, at the size to predict at.
        settings: batch, lowest confidence, suppression and number of boxes; its ``size`` and ``tta`` are ignored.
        device: ``cuda`` or ``cpu``.
        step: called after each batch with its number of films; may raise to stop.
        tta: ultralytics' three passes (as is; mirrored at .83; at .67) before one suppression; not with ``loss``.
        loss: also compute the loss, which requires ``net.args`` as a trainer sets it.
        knob: the experiment's field that sets the batch, for messages.

    Raises:
        BadInput: the net does not support ``tta``, or the GPU runs out of memory.
    """
    if tta and not supports_tta(net):
        raise BadInput(
            "inference.tta: this net has an end-to-end head, which ignores test-time augmentation; "
            "set it to false, or choose a model of v5u, v8 or 11"
        )
    net = net.to(device).eval()
    total = 0.0

    def predictor(positions: range) -> Float32s:
        nonlocal total
        raw = predict_batch(net, films.images(positions).to(device), tta=tta)
        if loss:
            total += len(positions) * _loss(net, films, positions, raw)
        return np.asarray(raw[0].cpu().numpy())

    with explained(settings.batch, films.pack.size, knob), torch.no_grad():
        boxes = predict_boxes(predictor, films.index, films.pack.size, settings, step)
    return Prediction(boxes, total / len(films) if loss else float("nan"))


def predict_batch(net: torch.nn.Module, films: torch.Tensor, *, tta: bool) -> tuple[torch.Tensor, Any]:
    """Return the candidates (B, 5, n) of films (B, 1, S, S) uint8, and what the loss is computed from; None with TTA.

    With TTA, these are the passes of ultralytics' ``augment=True``: it tells whether a net supports them in a way that
    ``torch.export`` does not follow.
    """
    images = films.float() / 255
    if not tta:
        raw: tuple[torch.Tensor, Any] = net(images)
        return raw
    found = []
    for scale, mirrored in PASSES:
        view = scale_img(images if mirrored is None else images.flip(mirrored), scale, gs=STRIDE)
        found.append(net._descale_pred(net(view)[0], mirrored, scale, images.shape[-2:]))  # type: ignore[operator]
    return torch.cat(net._clip_augmented(found), -1), None  # type: ignore[operator]


def opacity_ap(boxes: pd.DataFrame, index: pd.DataFrame) -> float:
    """Compute the competition's average precision of opacity over the films of ``index``; NaN if none has a box.

    Args:
        boxes: predictions, as ``predict`` returns them.
        index: the films to score, with ``image`` and ``boxes``.
    """
    unit = {image: number for number, image in enumerate(index["image"])}
    counts = [len(boxes_) for boxes_ in index["boxes"]]
    truth = metric.Truth(
        units=len(unit),
        unit=np.repeat(np.arange(len(unit)), counts),
        label=np.zeros(sum(counts), np.int64),
        box=np.array([box for boxes_ in index["boxes"] for box in boxes_], np.float64).reshape(-1, 4),
    )
    detections = metric.Detections(
        unit=boxes["image"].map(unit).to_numpy(np.int64),
        label=np.zeros(len(boxes), np.int64),
        confidence=boxes["confidence"].to_numpy(np.float64),
        box=boxes[list(BOX_COLUMNS[1:5])].to_numpy(np.float64),
    )
    return metric.average_precisions(metric.match(truth, detections, ["opacity"]))["opacity"]


def _loss(net: torch.nn.Module, films: DetectorFilms, positions: range, raw: tuple[torch.Tensor, Any]) -> float:
    boxes = [films.boxes[position] for position in positions]
    counts, device = torch.tensor([len(one) for one in boxes]), raw[0].device
    batch = {
        "bboxes": torch.from_numpy(np.concatenate(boxes)).to(device),
        "cls": torch.zeros(int(counts.sum()), 1, device=device),
        "batch_idx": torch.repeat_interleave(torch.arange(len(boxes)), counts).float().to(device),
    }
    return float(sum(net.loss(batch, raw)[1].values()))  # type: ignore[operator]
