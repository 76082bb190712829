"""What goes wrong on a GPU or in a loader's process, as a sentence and an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from jobs.contract.exits import BadInput, DeviceFailed

# cuBLAS and cuDNN say so where the memory they want for themselves is not to be had.
LIBRARIES_MEMORY: Final = ("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


@contextmanager
def explained(batch: int, size: int, knob: str) -> Iterator[None]:
    """Turn failures of a GPU, or of the processes that read films, into errors of a stage.

    Args:
        batch: films at once.
        size: pixels a side.
        knob: the experiment's field that ``batch`` comes from.

    Raises:
        BadInput: the GPU's memory does not suffice.
        DeviceFailed: the GPU failed, or a process that reads films was killed.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise BadInput(_memory(batch, size, knob)) from error
    except torch.AcceleratorError as error:
        raise DeviceFailed(
            f"The GPU failed ({_first_line(error)}): look for Xid errors in the node's kernel log. The next attempt "
            "goes on from the latest checkpoint."
        ) from error
    except RuntimeError as error:
        if any(word in str(error) for word in LIBRARIES_MEMORY):
            raise BadInput(_memory(batch, size, knob)) from error
        if str(error).startswith("DataLoader worker"):
            raise DeviceFailed(
                f"A process that reads films was killed ({_first_line(error)}), most likely for want of memory: raise "
                "the stage's memory or shm under resources in the profile, or lower cpu, which is also how many "
                "processes read. The next attempt goes on from the latest checkpoint."
            ) from error
        raise


def _memory(batch: int, size: int, knob: str) -> str:
    free, total = torch.cuda.mem_get_info()
    others = total - free - torch.cuda.memory_reserved()
    shared = f", of which other processes hold {others / 2**30:.0f}," if others > total / 10 else ""
    return (
        f"The GPU's {total / 2**30:.0f} GiB{shared} do not hold a batch of {batch} films at {size} px: lower {knob}"
        + (" and raise accumulate, which keeps the films a step" if knob == "batch" else "")
        + ", or take a smaller size or net, or precision: bf16."
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
