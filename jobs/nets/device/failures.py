"""What goes wrong on a GPU or in a loader's process, as a sentence and an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager

from jobs.contract.exits import BadInput
from jobs.runtime.failures.hardware import gpu_memory, gpu_out_of_memory, hardware_failure


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
    except RuntimeError as error:
        if gpu_out_of_memory(error):
            raise BadInput(_memory(batch, size, knob)) from error
        if (failure := hardware_failure(error)) is not None:
            raise failure from error
        raise


def _memory(batch: int, size: int, knob: str) -> str:
    return (
        f"{gpu_memory()} do not hold a batch of {batch} films at {size} px: lower {knob}"
        + (" and raise accumulate, which keeps the films a step" if knob == "batch" else "")
        + ", or take a smaller size or net, or precision: bf16."
    )
