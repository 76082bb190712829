"""Failures of hardware and of helper processes: what an exception means that is neither bad input nor a bug."""

import re
import sys
from concurrent.futures.process import BrokenProcessPool
from typing import Final

from jobs.contract.exits import BadInput, DeviceFailed, StageError

# What CUDA and its libraries report where a GPU, its link or its driver failed, and not where the code is to blame.
_GPU: Final = re.compile(
    r"CUDA error: (?!device-side assert|no kernel image|invalid)|CUDA (driver|unknown) error|NCCL error|uncorrectable"
    r"|No CUDA GPUs are available|Found no NVIDIA driver|CUDA driver initialization failed|NVML"
    r"|CUDNN_STATUS_(?!NOT_SUPPORTED|BAD_PARAM)|CUBLAS_STATUS_(?!NOT_SUPPORTED|INVALID_VALUE)"
)
_HELPER: Final = re.compile(r"DataLoader worker|bus error|shared memory|/torch_\d+", re.IGNORECASE)
_OUT_OF_MEMORY: Final = re.compile(r"out of memory|CU(BLAS|DNN)_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)", re.IGNORECASE)
_NEXT: Final = "The next attempt continues from the latest checkpoint."


def hardware_failure(error: BaseException) -> StageError | None:
    """Return what ended a stage if the GPU, the node or a helper process failed; None for any other error.

    Returns:
        DeviceFailed: another attempt may succeed.
        BadInput: the GPU's or the stage's memory does not suffice.
    """
    if gpu_out_of_memory(error):
        return BadInput(f"{gpu_memory()} do not suffice: choose a larger GPU, a smaller batch, size or net.")
    if isinstance(error, MemoryError):
        return BadInput("The stage's memory does not suffice: raise its memory under resources in the profile.")
    text = str(error).partition("\n")[0]
    if isinstance(error, BrokenProcessPool) or (isinstance(error, RuntimeError | OSError) and _HELPER.search(text)):
        return DeviceFailed(
            f"A helper process was killed ({text}), most likely for want of memory: raise the stage's memory or shm "
            f"under resources in the profile, or lower cpu, which is also the number of helpers. {_NEXT}"
        )
    if isinstance(error, RuntimeError) and _GPU.search(text):
        return DeviceFailed(f"The GPU failed ({text}): look for Xid errors in the node's kernel log. {_NEXT}")
    return None


def gpu_out_of_memory(error: BaseException) -> bool:
    """Whether a GPU refused memory, to PyTorch or to a library that PyTorch calls."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(error, RuntimeError):
        return False
    return isinstance(error, torch.OutOfMemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


def gpu_memory() -> str:
    """Start of a sentence with the GPU's memory, and how much of it other processes hold."""
    import torch

    try:
        free, total = torch.cuda.mem_get_info()
    except RuntimeError:  # the driver may answer nothing more after an error
        return "The GPU's gigabytes"
    others = total - free - torch.cuda.memory_reserved()
    shared = f", of which other processes hold {others / 2**30:.0f}," if others > total / 10 else ""
    return f"The GPU's {total / 2**30:.0f} GiB{shared}"
