# SPDX-License-Identifier: AGPL-3.0-only
"""All that a training needs to go on bit by bit, as tensors and JSON.

ultralytics' own files cannot do it: they hold the averaged weights in half precision in place of the raw ones.
No generator's state is kept: every epoch seeds them anew.
"""

from typing import Any

import torch

from jobs.nets.yolo.model import Tensors

State = dict[str, Any]


def snapshot(trainer: Any) -> tuple[Tensors, State]:
    """The state of an ultralytics trainer at the end of an epoch."""
    optimizer = trainer.optimizer.state_dict()
    tensors = _prefixed("raw/", trainer.model.state_dict()) | _prefixed("ema/", trainer.ema.ema.state_dict())
    scalars: dict[str, dict[str, Any]] = {}
    for number, entries in optimizer["state"].items():
        for name, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer/{number}/{name}"] = value
            else:
                scalars.setdefault(str(number), {})[name] = value
    stopper = trainer.stopper
    return tensors, {
        "epoch": trainer.epoch,
        "updates": trainer.ema.updates,
        "optimizer": {"scalars": scalars, "groups": optimizer["param_groups"]},
        "scaler": trainer.scaler.state_dict(),
        "best_fitness": trainer.best_fitness,
        "stopper": [stopper.best_fitness, stopper.best_epoch, stopper.possible_stop],
    }


def restore(trainer: Any, tensors: Tensors, state: State) -> None:
    """Put a snapshot into a trainer whose net, average and optimiser were just made, before its first epoch."""
    trainer.model.load_state_dict(under("raw/", tensors))
    trainer.ema.ema.load_state_dict(under("ema/", tensors))
    trainer.ema.updates = state["updates"]
    _restore_optimizer(trainer.optimizer, tensors, state["optimizer"])
    if state["scaler"]:  # empty where the checkpoint comes from a machine without a GPU
        trainer.scaler.load_state_dict(state["scaler"])
    trainer.best_fitness = state["best_fitness"]
    stopper = trainer.stopper
    stopper.best_fitness, stopper.best_epoch, stopper.possible_stop = state["stopper"]
    trainer.start_epoch = state["epoch"] + 1


def under(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors under a prefix, without it: ``ema/`` are the averaged weights that are scored and handed on."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors, saved: State) -> None:
    entries: dict[int, dict[str, Any]] = {int(number): dict(values) for number, values in saved["scalars"].items()}
    for key, tensor in under("optimizer/", tensors).items():
        number, name = key.split("/")
        entries.setdefault(int(number), {})[name] = tensor
    groups = []
    for group, own in zip(saved["groups"], optimizer.param_groups, strict=True):
        pairs = {name: tuple(value) for name, value in group.items() if name == "betas"}  # JSON knows no tuples
        # Which kernel runs is this machine's affair, not the checkpoint's.
        groups.append({**group, **pairs, "fused": own.get("fused")})
    optimizer.load_state_dict({"state": entries, "param_groups": groups})


def _prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
