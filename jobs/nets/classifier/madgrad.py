"""MADGRAD over all parameters at once: a dozen operations a step, where the package makes seven a tensor."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn


class ForeachMADGRAD(torch.optim.Optimizer):
    """MADGRAD (Defazio and Jelassi 2022, arXiv:2101.11075) by PyTorch's foreach operations.

    On the CPU each update equals that of ``madgrad.MADGRAD`` bit for bit, and the state has the same names, so that a
    training may go on with either. Weights and gradients are dense and float32; momentum is above 0.

    Args:
        params: parameters, or groups of them.
        lr: learning rate.
        momentum: in (0, 1); the weights are a moving average of the dual-averaged iterate.
        weight_decay: L2 penalty, added to the gradient.
        eps: added to the denominator, outside the cube root.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 1e-2,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eps: float = 1e-6,
    ) -> None:
        super().__init__(params, {"lr": lr, "eps": eps, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters that have a gradient; nothing is read back from the device.

        Args:
            closure: computes the loss anew, with gradients.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        state: dict[Any, Any] = self.state
        if "k" not in state:  # beside the parameters, and on the CPU, as the package has it
            state["k"] = torch.tensor([0], dtype=torch.long)
        steps = int(state["k"])
        for group in self.param_groups:
            self._update(group, steps)
        state["k"] += 1
        return loss

    def _update(self, group: dict[str, Any], steps: int) -> None:
        weights = [weight for weight in group["params"] if weight.grad is not None]
        if not weights:
            return
        grads = [weight.grad for weight in weights]
        states = [self._state_of(weight) for weight in weights]
        squares, sums, starts = ([state[name] for state in states] for name in ("grad_sum_sq", "s", "x0"))
        eps, lr, average = group["eps"], group["lr"], 1 - group["momentum"]
        lamb = (lr + eps if lr else lr) * math.sqrt(steps + 1)
        if group["weight_decay"]:
            torch._foreach_add_(grads, weights, alpha=group["weight_decay"])
        torch._foreach_addcmul_(squares, grads, grads, value=lamb)
        roots = torch._foreach_pow(squares, 1 / 3)
        torch._foreach_add_(roots, eps)
        torch._foreach_add_(sums, grads, alpha=lamb)
        iterates = torch._foreach_addcdiv(starts, sums, roots, value=-1)
        torch._foreach_mul_(weights, 1 - average)
        torch._foreach_add_(weights, iterates, alpha=average)

    def _state_of(self, weight: nn.Parameter) -> dict[str, torch.Tensor]:
        state: dict[str, torch.Tensor] = self.state[weight]
        if not state:
            state["grad_sum_sq"] = torch.zeros_like(weight)
            state["s"] = torch.zeros_like(weight)
            state["x0"] = weight.detach().clone()
        return state
