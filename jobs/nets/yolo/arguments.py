# SPDX-License-Identifier: AGPL-3.0-only
"""What a detector's training is given, and its settings under ultralytics' names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from jobs.contract.experiment import Detector
from jobs.nets.yolo.data import DetectorFilms


@dataclass(frozen=True)
class Setup:
    """The net and films of a training, and the device it runs on.

    Attributes:
        net: the net with its initial weights.
        train: films to train on.
        valid: the fold's films.
        seed: seed of the films' order and of augmentation.
        device: ``cuda`` or ``cpu``.
        threads: CPU threads to use, loader workers included.
        folder: folder for the small files that ultralytics writes.
        own: the films of ``train`` that are not beside the folds, a sample of which is scored; None if all are.
    """

    net: torch.nn.Module
    train: DetectorFilms
    valid: DetectorFilms
    seed: int
    device: str
    threads: int
    folder: Path
    own: DetectorFilms | None = None


def arguments(detector: Detector, setup: Setup) -> dict[str, Any]:
    """Return the training's settings under ultralytics' names, including those whose default there does not fit."""
    return {
        "task": "detect",
        "mode": "train",
        "model": f"{detector.model}.yaml",
        "data": "packed",
        "epochs": detector.epochs,
        "batch": detector.batch,
        "nbs": detector.batch,
        "imgsz": detector.size,
        "device": "0" if setup.device == "cuda" else "cpu",
        "project": str(setup.folder),
        "name": "ultralytics",
        "exist_ok": True,
        "pretrained": False,
        "seed": setup.seed,
        "deterministic": detector.deterministic,
        "amp": False,
        "plots": False,
        "save": False,
        "patience": detector.patience or 0,
        "optimizer": detector.optimizer,
        "lr0": detector.lr,
        "lrf": detector.final_lr,
        "cos_lr": {"linear": False, "cosine": True}[detector.schedule],
        "momentum": detector.momentum,
        "weight_decay": detector.weight_decay,
        "warmup_epochs": detector.warmup,
        "warmup_bias_lr": 0.1 if detector.optimizer == "SGD" else 0.0,
        "mosaic": detector.mosaic,
        "mixup": detector.mixup,
        "close_mosaic": detector.close_mosaic,
        "degrees": detector.degrees,
        "translate": detector.translate,
        "scale": detector.scale,
        "shear": detector.shear,
        "fliplr": detector.flip,
    }
