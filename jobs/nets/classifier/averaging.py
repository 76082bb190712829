"""The moving average of the weights (EMA) that is scored and stored where a classifier has ``ema``."""

import math
from collections.abc import Iterable

import torch
from torch import nn


def average_decay(decay: float, step: int, warmup: float) -> float:
    """Compute the average's decay at a step of the training, counted from 1: ``decay (1 - exp(-step / warmup))``.

    So an average does not begin with the weights before the first step, most of which a short training would keep.
    YOLOv5 averages like that, over 2,000 steps.

    Args:
        decay: its final value.
        step: steps done, this one included.
        warmup: steps in which it rises to 63 %; 0: it is the final one at once.
    """
    return decay * (1 - math.exp(-step / warmup)) if warmup else decay


class WeightAverage:
    """Moves averaged weights and batch-norm statistics towards a net's: ``a = decay a + (1 - decay) w``.

    Integer buffers are copied. Both modules keep their tensors, so their lists are made once.

    Args:
        averaged: the module that holds the averages.
        net: the net that is trained.
    """

    def __init__(self, averaged: nn.Module, net: nn.Module) -> None:
        pairs = list(zip(averaged.state_dict().values(), net.state_dict().values(), strict=True))
        self._averages, self._values = _split(pair for pair in pairs if pair[0].is_floating_point())
        self._copies, self._counters = _split(pair for pair in pairs if not pair[0].is_floating_point())

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Take in the net's weights of this step; ``decay`` is in [0, 1)."""
        torch._foreach_lerp_(self._averages, self._values, 1 - decay)
        if self._copies:
            torch._foreach_copy_(self._copies, self._counters)


def _split(pairs: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    kept = list(pairs)
    return [first for first, _ in kept], [second for _, second in kept]
