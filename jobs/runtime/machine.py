"""CPUs that this process may use."""

import os
import time
from pathlib import Path

from jobs.contract import environment


def process_age() -> float:
    """Seconds since this process started, by the kernel's count."""
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # field 22, ticks since boot
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")


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
