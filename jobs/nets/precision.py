"""Which numbers the net computes in."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["auto", "fp32", "bf16", "fp16"]


def resolve_precision(wanted: Precision, device: str) -> torch.dtype:
    """The type for a device: ``auto`` is bfloat16 on a GPU that has it, else float32."""
    if wanted == "auto":
        return torch.bfloat16 if device == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[wanted]


def autocast(wanted: Precision, device: str) -> AbstractContextManager[object]:
    """Convolutions and products in the wanted type; weights stay float32."""
    dtype = resolve_precision(wanted, device)
    return nullcontext() if dtype is torch.float32 else torch.autocast(device, dtype)


def gradient_scaler(wanted: Precision, device: str) -> torch.amp.GradScaler:
    """Keeps small gradients from vanishing in float16; does nothing otherwise."""
    return torch.amp.GradScaler(device, enabled=resolve_precision(wanted, device) is torch.float16)
