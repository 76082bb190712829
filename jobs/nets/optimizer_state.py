"""An optimiser's state as a flat dictionary of tensors, which is what a checkpoint holds."""

import re
from typing import Any, Final

import torch

from jobs.runtime.checkpoint import Tensors

SHARED: Final = "whole"  # prefix of state that belongs to no single parameter, such as MADGRAD's step count


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """Return the optimiser's state by ``<parameter>.<name>``, without its parameter groups."""
    state: dict[Any, Any] = optimizer.state_dict()["state"]
    flat: Tensors = {}
    for key, entry in state.items():
        if isinstance(entry, dict):
            flat |= {f"{key}.{name}": value for name, value in entry.items()}
        else:
            flat[f"{SHARED}.{key}"] = entry
    return flat


def restore_optimizer(
    optimizer: torch.optim.Optimizer, flat: Tensors, groups: list[dict[str, Any]] | None = None
) -> None:
    """Load the state that :func:`optimizer_tensors` returned.

    State of a parameter's shape gets the parameter's strides. Fused kernels require equal strides, and with other
    strides a resumed training would round differently. A ``/`` in place of the ``.`` is read, too: the detector's
    checkpoints used it.

    Args:
        optimizer: made for the same parameters.
        flat: the state.
        groups: settings of the parameter groups; the optimiser keeps its own if None.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[Any, Any] = {}
    for path, value in flat.items():
        owner, name = re.split(r"[./]", path, maxsplit=1)
        if owner == SHARED:
            state[name] = value
            continue
        parameter = parameters[int(owner)]
        if value.shape == parameter.shape:
            value = torch.empty_like(parameter).copy_(value)
        state.setdefault(int(owner), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": groups or optimizer.state_dict()["param_groups"]})
