# SPDX-License-Identifier: AGPL-3.0-only
"""Pretrained YOLO weights from ultralytics' releases: for ``jobs weights add``, never in a pod."""

import tempfile
from pathlib import Path

import torch
from ultralytics.nn.tasks import torch_safe_load
from ultralytics.utils.downloads import attempt_download_asset


def download(name: str) -> dict[str, torch.Tensor]:
    """The released weights of a model, e.g. ``yolov8m``, by their names in its net.

    Raises:
        OSError: the internet cannot be reached.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = attempt_download_asset(Path(folder) / f"{name}.pt")
        # The release is a pickle; only tensors and the package's own classes are taken from it.
        checkpoint, _ = torch_safe_load(path, safe_only=True)
    net: torch.nn.Module = checkpoint.get("ema") or checkpoint["model"]
    return net.float().state_dict()
