# SPDX-License-Identifier: AGPL-3.0-only
"""ultralytics' loss in float32, for whose sake the host waits for the device less often."""

from typing import Any

import torch
from ultralytics.utils.loss import v8DetectionLoss
from ultralytics.utils.ops import xywh2xyxy

MOST_BOXES = "most_boxes"  # key of a batch: the most boxes of one of its films


class DetectionLoss(v8DetectionLoss):  # type: ignore[misc]
    """The loss that ultralytics computes, outside mixed precision: bf16 would round boxes to a quarter of a cell.

    The original asks the device for its strides and for the most boxes of a film, which the host knows. Two waits
    remain, for the positions of the assigned anchors.

    Args:
        net: on the device, with ``args`` as a trainer sets them.
    """

    stride: torch.Tensor

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__(net)
        self.stride = self.stride.cpu()
        self.most = 0

    def __call__(self, raw: Any, batch: dict[str, Any]) -> Any:
        """Return the loss and its parts.

        Args:
            raw: the net's output.
            batch: with ``MOST_BOXES``.
        """
        self.most = batch[MOST_BOXES]
        with torch.autocast(self.device.type, enabled=False):
            return super().__call__(_float32(raw), batch)

    def preprocess(self, targets: torch.Tensor, batch_size: int, scale_tensor: torch.Tensor) -> torch.Tensor:
        """Return the boxes (n, 6) of a batch, by film: (films, most boxes, 5), class and corners in pixels."""
        padded = torch.zeros(batch_size, self.most, targets.shape[1] - 1, device=self.device)
        film = targets[:, 0].long()
        firsts = torch.zeros(batch_size + 1, dtype=torch.long, device=self.device)
        firsts.scatter_add_(0, film + 1, torch.ones_like(film))
        place = torch.arange(len(film), device=self.device) - firsts.cumsum(0)[film]
        padded[film, place] = targets[:, 1:]
        padded[..., 1:5] = xywh2xyxy(padded[..., 1:5].mul_(scale_tensor))
        return padded


def most_boxes(batch: dict[str, Any]) -> int:
    """The most boxes of one film of a batch that is still on the host."""
    return int(batch["batch_idx"].long().bincount().max()) if len(batch["batch_idx"]) else 0


def _float32(raw: Any) -> Any:
    if isinstance(raw, torch.Tensor):
        return raw.float()
    if isinstance(raw, dict):
        return {name: _float32(value) for name, value in raw.items()}
    return type(raw)(_float32(value) for value in raw)
