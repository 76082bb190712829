"""The classifier's optimisers and learning-rate schedules."""

import math
from collections.abc import Iterable
from typing import assert_never

import torch
from torch import nn

from jobs.contract.experiment import Classifier, LearningStage
from jobs.nets.classifier.madgrad import ForeachMADGRAD


def create_optimizer(model: Classifier, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Create an optimiser with learning rate 0; call :func:`set_learning_rate` before every step."""
    match model.optimizer:
        case "adam":
            return torch.optim.Adam(parameters, lr=0.0, weight_decay=model.weight_decay, fused=True)
        case "madgrad":
            return ForeachMADGRAD(parameters, lr=0.0, weight_decay=model.weight_decay)
        case _:
            assert_never(model.optimizer)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameter groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def learning_rate(model: Classifier, stage: LearningStage, step: int, epoch_steps: int) -> float:
    """Compute the learning rate of step ``step`` of a stage, counted from 0.

    Warm-up rises linearly to the stage's rate over ``model.warmup`` epochs; ``cosine`` then falls to 0 at the
    stage's end (Loshchilov and Hutter 2017).
    """
    warm, total = model.warmup * epoch_steps, stage.epochs * epoch_steps
    if step < warm:
        return stage.lr * (step + 1) / (warm + 1)
    match model.schedule:
        case "constant":
            return stage.lr
        case "cosine":
            return stage.lr * (1 + math.cos(math.pi * (step - warm) / (total - warm))) / 2
        case _:
            assert_never(model.schedule)
