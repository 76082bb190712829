"""Mixed precision: the number type of the net's convolutions and products."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Literal

import torch

Precision = Literal["auto", "fp32", "bf16", "fp16"]

TYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_precision(wanted: Precision, device: str) -> Literal["fp32", "bf16", "fp16"]:
    """Return the precision on a device.

    ``auto`` is bf16 on a GPU that computes in it (from Ampere on), fp16 on an older GPU, where PyTorch would emulate
    bf16 and cuDNN has no convolution for it, and fp32 on a CPU.
    """
    if wanted != "auto":
        return wanted
    if device != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def autocast(wanted: Precision, device: str) -> AbstractContextManager[object]:
    """Run convolutions and products in the requested type; weights stay float32."""
    precision = resolve_precision(wanted, device)
    return nullcontext() if precision == "fp32" else torch.autocast(device, TYPES[precision])


def gradient_scaler(wanted: Precision, device: str) -> torch.amp.GradScaler:
    """Create a scaler against underflow of float16 gradients; it is disabled for other types."""
    return torch.amp.GradScaler(device, enabled=resolve_precision(wanted, device) == "fp16")


def restore_scaler(scaler: torch.amp.GradScaler, state: dict[str, Any]) -> None:
    """Load a scaler's state, unless another precision wrote it: then the scaler begins anew.

    An attempt on another kind of GPU may resolve ``auto`` to another precision.
    """
    if state and scaler.is_enabled() and state["growth_interval"] == scaler.get_growth_interval():
        scaler.load_state_dict(state)
