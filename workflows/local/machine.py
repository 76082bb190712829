"""The cores and GPUs of this machine, and how many threads each step gets."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Final

from jobs.contract.exits import BadInput

# Each numerical library reads a variable of its own.
THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Machine:
    """The resources that the engine allocates.

    Attributes:
        cores: CPU cores.
        gpus: indices of GPUs, as in ``CUDA_VISIBLE_DEVICES``.
        jobs: processes that may run at once.
    """

    cores: int
    gpus: tuple[str, ...]
    jobs: int

    def threads(self, concurrent: int) -> int:
        """Return the CPU threads of a step.

        The number depends on the workflow's shape, not on what runs at the moment, so a repeated run uses the same
        number of threads and computes the same bits.

        Args:
            concurrent: the most steps that may run at once, this one included.
        """
        return max(1, self.cores // min(self.jobs, concurrent))


def this_machine(jobs: int | None = None, gpus: str | None = None) -> Machine:
    """Return the resources of this machine.

    Args:
        jobs: processes at once; default: one per GPU, or per core without GPUs.
        gpus: indices such as ``0,2``, or ``none``; default: all visible GPUs.

    Raises:
        BadInput: a GPU does not exist.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    visible = _visible_gpus()
    chosen = visible
    if gpus is not None:
        chosen = () if gpus == "none" else tuple(index.strip() for index in gpus.split(","))
        if missing := [index for index in chosen if index not in visible]:
            raise BadInput(f"--gpus {gpus}: there is no GPU {missing[0]}; visible: {', '.join(visible) or 'none'}")
    return Machine(cores, chosen, jobs or min(cores, len(chosen) or cores))


def _visible_gpus() -> tuple[str, ...]:
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    if variable is not None:
        indices = (index.strip() for index in variable.split(","))
        return tuple(index for index in indices if index not in ("", "-1"))
    if shutil.which("nvidia-smi") is None:
        return ()
    listing = subprocess.run(
        ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return tuple(listing.stdout.split()) if listing.returncode == 0 else ()
