# SPDX-License-Identifier: AGPL-3.0-only
"""Weights published by ultralytics: fetched by ``jobs weights add``, never by a stage."""

import tempfile
from pathlib import Path

from ultralytics.nn.tasks import load_checkpoint
from ultralytics.utils.downloads import attempt_download_asset

from jobs.runtime.checkpoint import Tensors


def download(name: str) -> Tensors:
    """The published weights of a model (80 classes, three channels), float32, by their names in the net.

    Args:
        name: as an experiment names it, e.g. ``yolov8m``.

    Raises:
        OSError: the internet cannot be reached.
    """
    with tempfile.TemporaryDirectory() as folder:
        net, _ = load_checkpoint(attempt_download_asset(Path(folder) / f"{name}.pt"))
    tensors: Tensors = net.float().state_dict()
    return tensors
