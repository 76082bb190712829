"""Processes that never outlive the one that started them."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def dies_with_parent(signum: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """What a child runs between fork and exec so that the kernel sends it ``signum`` when its parent's thread ends.

    Where the kernel cannot (anything but Linux) the child is left as it is: then a SIGKILL of the parent leaves it
    running, every other end does not.
    """
    parent = os.getpid()
    prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None

    def in_child() -> None:
        if prctl is None:
            return
        prctl(PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
        if os.getppid() != parent:  # the parent ended before the kernel was told
            os._exit(1)

    return in_child
