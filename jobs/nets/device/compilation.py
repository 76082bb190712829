"""torch.compile, and where it keeps what it compiled."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

Mode = Literal["none", "cudagraphs", "default", "reduce-overhead", "max-autotune"]


def compiled(net: nn.Module, mode: Mode) -> Callable[..., Any]:
    """The net's forward pass, compiled unless the mode is ``none``; the net itself stays as it is.

    All but ``none`` and ``default`` run on a GPU as CUDA graphs, whose launch costs next to nothing. ``cudagraphs``
    captures PyTorch's own kernels; for the others TorchInductor generates kernels.
    """
    if mode == "none":
        return net
    return torch.compile(net, backend="cudagraphs") if mode == "cudagraphs" else torch.compile(net, mode=mode)


def keep_compiled(folder: Path) -> None:
    """Keep compiled code in a folder, so that other folds on this machine, and later attempts, need not compile."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))
