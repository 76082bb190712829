"""What this process may use of the machine."""

import os
from pathlib import Path

from jobs.contract import environment


def cpus() -> int:
    """CPU threads to use: what the task was told, else the cores of its affinity and its cgroup's quota."""
    if told := os.environ.get(environment.THREADS):
        return max(1, int(told))
    cores = len(os.sched_getaffinity(0))
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.exists():
        allowed, period = quota.read_text().split()
        if allowed != "max":
            cores = min(cores, -(-int(allowed) // int(period)))
    return max(1, cores)
