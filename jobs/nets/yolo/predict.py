# SPDX-License-Identifier: AGPL-3.0-only
"""Predict boxes in the films' own pixels, and score them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
import torchvision  # noqa: F401 - ultralytics uses torchvision's faster NMS only if it is already imported
from ultralytics.utils.nms import non_max_suppression

from jobs.contract.exits import BadInput
from jobs.contract.experiment import DetectorInference
from jobs.films.letterbox import Letterbox
from jobs.nets.failures import explained
from jobs.nets.yolo.data import DetectorFilms
from jobs.nets.yolo.model import supports_tta
from jobs.scoring import metric

COLUMNS: Final = ("image", "xmin", "ymin", "xmax", "ymax", "confidence")
# ultralytics stops suppression after a time limit, so a short one would make boxes depend on the machine's speed.
PATIENCE: Final = 3600.0  # seconds per film

Step = Callable[[int], None]


@dataclass(frozen=True)
class Prediction:
    """A net's predictions for some films.

    Attributes:
        boxes: ``COLUMNS``; films in order, then descending confidence; coordinates in pixels of the film.
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
        tta: ultralytics' three passes (as is; mirrored at .83; at .67) before one suppression.
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
    total, found = 0.0, []
    with explained(settings.batch, films.pack.size, knob), torch.no_grad():
        for start in range(0, len(films), settings.batch):
            positions = range(start, min(start + settings.batch, len(films)))
            images = films.images(positions).to(device).float() / 255
            raw = net(images, augment=tta)
            if loss:
                total += len(positions) * _loss(net, films, positions, images, raw)
            for position, kept in zip(positions, _suppress(raw[0], settings), strict=True):
                found.append(_rows(films.index["image"][position], films.letterboxes[position], kept))
            step(len(positions))
    return Prediction(pd.concat(found, ignore_index=True), total / len(films) if loss else float("nan"))


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
        box=boxes[list(COLUMNS[1:5])].to_numpy(np.float64),
    )
    return metric.average_precisions(metric.match(truth, detections, ["opacity"]))["opacity"]


def _suppress(raw: torch.Tensor, settings: DetectorInference) -> list[torch.Tensor]:
    """Return each film's boxes (n, 6) after suppression, by descending confidence, in pixels of the square."""
    kept: list[torch.Tensor] = non_max_suppression(
        raw, settings.confidence, settings.iou, max_det=settings.max_boxes, max_time_img=PATIENCE
    )
    return kept


def _loss(net: torch.nn.Module, films: DetectorFilms, positions: range, images: torch.Tensor, raw: Any) -> float:
    boxes = [films.boxes[position] for position in positions]
    counts = torch.tensor([len(one) for one in boxes])
    batch = {
        "img": images,
        "bboxes": torch.from_numpy(np.concatenate(boxes)).to(images.device),
        "cls": torch.zeros(int(counts.sum()), 1, device=images.device),
        "batch_idx": torch.repeat_interleave(torch.arange(len(boxes)), counts).float().to(images.device),
    }
    return float(sum(net.loss(batch, raw)[1].values()))  # type: ignore[operator]


def _rows(image: str, letterbox: Letterbox, kept: torch.Tensor) -> pd.DataFrame:
    """Return a film's boxes in its own pixels, clipped to it; boxes wholly in the margin are dropped."""
    values = kept.double().cpu().numpy()
    corners = letterbox.to_film(values[:, :4]).clip(0, np.tile([letterbox.width, letterbox.height], 2))
    inside = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    rows = pd.DataFrame(np.hstack([corners, values[:, 4:5]])[inside], columns=list(COLUMNS[1:]))
    rows.insert(0, "image", image)
    return rows
