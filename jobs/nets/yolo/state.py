# SPDX-License-Identifier: AGPL-3.0-only
"""Checkpoints of an ultralytics trainer as tensors and JSON: enough to resume bit for bit.

ultralytics' own files are not enough: they hold the averaged weights in half precision and no raw ones.
The state of random generators is not saved, because every epoch seeds them.
"""

from typing import Any

import torch

from jobs.nets.device.precision import restore_scaler
from jobs.nets.optimizer_state import optimizer_tensors, restore_optimizer
from jobs.runtime.checkpoint import State, Tensors


def snapshot(trainer: Any) -> tuple[Tensors, State]:
    """Return the state of an ultralytics trainer at the end of an epoch."""
    tensors = (
        _prefixed("raw/", trainer.model.state_dict())
        | _prefixed("ema/", trainer.ema.ema.state_dict())
        | _prefixed("best/", trainer.best_weights)
        | _prefixed("optimizer/", optimizer_tensors(trainer.optimizer))
    )
    stopper = trainer.stopper
    return tensors, {
        "epoch": trainer.epoch,
        "updates": trainer.ema.updates,
        "optimizer": {"groups": trainer.optimizer.state_dict()["param_groups"]},
        "scaler": trainer.scaler.state_dict(),
        "best_fitness": trainer.best_fitness,
        "stopper": [stopper.best_fitness, stopper.best_epoch, stopper.possible_stop],
    }


def restore(trainer: Any, tensors: Tensors, state: State) -> None:
    """Load a snapshot into a trainer that has created its net, average and optimiser and not begun an epoch."""
    trainer.model.load_state_dict(under("raw/", tensors))
    trainer.ema.ema.load_state_dict(under("ema/", tensors))
    trainer.ema.updates = state["updates"]
    groups = _restored_groups(state["optimizer"]["groups"], trainer.optimizer)
    restore_optimizer(trainer.optimizer, under("optimizer/", tensors), groups)
    restore_scaler(trainer.scaler, state["scaler"])
    trainer.best_fitness = state["best_fitness"]
    stopper = trainer.stopper
    stopper.best_fitness, stopper.best_epoch, stopper.possible_stop = state["stopper"]
    trainer.start_epoch = state["epoch"] + 1


def under(prefix: str, tensors: Tensors) -> Tensors:
    """Return the tensors under a prefix, with the prefix removed."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _restored_groups(saved: list[dict[str, Any]], optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Convert the parameter groups of a checkpoint: JSON has no tuples, and this machine decides on fused kernels."""
    return [
        {**group, **({"betas": tuple(group["betas"])} if "betas" in group else {}), "fused": own.get("fused")}
        for group, own in zip(saved, optimizer.param_groups, strict=True)
    ]


def _prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
