"""Mixed precision: the number type of the net's convolutions and products."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["auto", "fp32", "bf16", "fp16"]


def resolve_precision(wanted: Precision, device: str) -> torch.dtype:
    """Return the type for a device: ``auto`` is bfloat16 on a GPU that supports it, else float32."""
    if wanted == "auto":
        return torch.bfloat16 if device == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[wanted]


def autocast(wanted: Precision, device: str) -> AbstractContextManager[object]:
    """Run convolutions and products in the requested type; weights stay float32."""
    dtype = resolve_precision(wanted, device)
    return nullcontext() if dtype is torch.float32 else torch.autocast(device, dtype)


def gradient_scaler(wanted: Precision, device: str) -> torch.amp.GradScaler:
    """Create a scaler against underflow of float16 gradients; it is disabled for other types."""
    return torch.amp.GradScaler(device, enabled=resolve_precision(wanted, device) is torch.float16)
