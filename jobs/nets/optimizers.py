"""Optimisers, the learning rate of every step, averaged weights, and the optimiser's state as plain tensors."""

import math
from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import nn

from jobs.contract.experiment import Classifier, LearningStage
from jobs.nets.madgrad import ForeachMADGRAD

Tensors = dict[str, torch.Tensor]

WHOLE: Final = "whole"  # where the part of the state lies that belongs to no parameter


def create_optimizer(model: Classifier, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """A fresh optimiser. Its learning rate is set before every step (:func:`learning_rate`)."""
    if model.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=0.0, weight_decay=model.weight_decay, fused=True)
    return ForeachMADGRAD(parameters, lr=0.0, weight_decay=model.weight_decay)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def learning_rate(model: Classifier, stage: LearningStage, step: int, epoch_steps: int) -> float:
    """The learning rate of a stage's step, counted from 0.

    Warm-up rises linearly to the stage's rate, over ``model.warmup`` epochs; ``cosine`` falls from there to zero at the
    stage's end (Loshchilov and Hutter 2017).
    """
    warm, total = model.warmup * epoch_steps, stage.epochs * epoch_steps
    if step < warm:
        return stage.lr * (step + 1) / (warm + 1)
    if model.schedule == "constant":
        return stage.lr
    return stage.lr * (1 + math.cos(math.pi * (step - warm) / (total - warm))) / 2


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """The optimiser's state by ``<parameter>.<name>``; its settings are the experiment's."""
    state: dict[Any, Any] = optimizer.state_dict()["state"]
    flat: Tensors = {}
    for key, entry in state.items():
        named = entry if isinstance(entry, dict) else {key: entry}
        place = key if isinstance(entry, dict) else WHOLE  # MADGRAD counts its steps beside the parameters
        flat |= {f"{place}.{name}": value for name, value in named.items()}
    return flat


def restore_optimizer(optimizer: torch.optim.Optimizer, flat: Tensors) -> None:
    """Give an optimiser the state of :func:`optimizer_tensors`, laid out in memory as its parameters are.

    Another layout would round differently, and a resumed training would not end with the same bits.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[Any, Any] = {}
    for path, value in flat.items():
        place, name = path.split(".", 1)
        if place == WHOLE:
            state[name] = value
            continue
        parameter = parameters[int(place)]
        shaped = value.shape == parameter.shape
        state.setdefault(int(place), {})[name] = torch.empty_like(parameter).copy_(value) if shaped else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


@torch.no_grad()
def average_into(averaged: nn.Module, net: nn.Module, decay: float) -> None:
    """Move averaged weights and batch-norm statistics towards the net's: ``a = decay a + (1 - decay) w``."""
    pairs = list(zip(averaged.state_dict().values(), net.state_dict().values(), strict=True))
    real = [pair for pair in pairs if pair[0].is_floating_point()]
    torch._foreach_lerp_([mine for mine, _ in real], [its for _, its in real], 1 - decay)
    for mine, its in pairs:
        if not mine.is_floating_point():
            mine.copy_(its)
