"""CPUs that this process may use."""

import os
from pathlib import Path

from jobs.contract import environment


def cpus() -> int:
    """Number of CPU threads to use: from the environment, else the smaller of CPU affinity and cgroup quota."""
    if threads := environment.number(environment.THREADS):
        return max(1, int(threads))
    cores = len(os.sched_getaffinity(0))
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.exists():
        allowed, period = quota.read_text().split()
        if allowed != "max":
            cores = min(cores, -(-int(allowed) // int(period)))
    return max(1, cores)
