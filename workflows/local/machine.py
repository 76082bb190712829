"""What of this machine each process gets: GPUs of its own, and a share of the cores that does not depend on chance."""

import os
import shutil
import subprocess
from dataclasses import dataclass

from jobs.contract.exits import BadInput

# Each numerical library has its own word for it.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Machine:
    """What the engine deals out."""

    cores: int
    gpus: tuple[str, ...]
    jobs: int

    def threads(self, beside: int) -> int:
        """CPU threads of a task that at most ``beside`` tasks, itself included, may run beside.

        It follows from the shape of the workflow, not from what runs at the moment: the same run computes with the
        same number of threads each time, and so the same bits.
        """
        return max(1, self.cores // min(self.jobs, beside))


def this_machine(jobs: int | None = None, gpus: str | None = None) -> Machine:
    """What there is here.

    Args:
        jobs: processes at once; as many as there are GPUs, else cores, where not given.
        gpus: ``0,2`` for these, ``none`` for none; all that are visible where not given.

    Raises:
        BadInput: for a GPU that is not there.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    visible = _visible_gpus()
    chosen = visible
    if gpus is not None:
        chosen = () if gpus == "none" else tuple(one.strip() for one in gpus.split(","))
        if missing := [one for one in chosen if one not in visible]:
            there = ", ".join(visible) or "none"
            raise BadInput(f"--gpus {gpus}: there is no GPU {missing[0]} here; visible: {there}")
    return Machine(cores, chosen, jobs or min(cores, len(chosen) or cores))


def _visible_gpus() -> tuple[str, ...]:
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return tuple(one.strip() for one in told.split(",") if one.strip() and one.strip() != "-1")
    if shutil.which("nvidia-smi") is None:
        return ()
    asked = subprocess.run(
        ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return tuple(asked.stdout.split()) if asked.returncode == 0 else ()
