"""Exit codes of a stage: what each means and whether the task is retried.

Argo's retry expression, the local engine's retries and the sentences of ``explain`` are all generated from ``TABLE``.
64 and 65 belong to Argo's own executor, 2 to usage errors of the command line. Above 128 are signals: 128 + number on
this machine; in a pod, Argo's executor reports 137 for each.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Exit(IntEnum):
    """Exit code of a stage's process."""

    DONE = 0
    DEGRADED = 3
    SERVICE_AWAY = 69
    BUG = 70
    HARDWARE = 71
    CHECKPOINTED = 75
    BUDGET_SPENT = 76
    BAD_INPUT = 78
    ILLEGAL_INSTRUCTION = 132
    ABORTED = 134
    BUS_ERROR = 135
    ARITHMETIC_ERROR = 136
    KILLED = 137
    CRASHED = 139
    TERMINATED = 143


@dataclass(frozen=True)
class Meaning:
    """Explanation of an exit code, and whether the task is retried."""

    says: str
    retry: bool


TABLE: Final[dict[Exit, Meaning]] = {
    Exit.DONE: Meaning("done", retry=False),
    Exit.DEGRADED: Meaning(
        "of a whole run: it has a result, without the folds that failed (ensemble.min_folds)", retry=False
    ),
    Exit.SERVICE_AWAY: Meaning("a service (S3) failed during the stage; retried later", retry=True),
    Exit.BUG: Meaning("a bug: the traceback is in the log; never retried", retry=False),
    Exit.HARDWARE: Meaning(
        "the GPU, a helper process or a stored object failed; retried, from the latest checkpoint", retry=True
    ),
    Exit.CHECKPOINTED: Meaning(
        "stopped on request, checkpoint written; the next attempt continues from it", retry=True
    ),
    Exit.BUDGET_SPENT: Meaning(
        "the run's GPU hours (--max-gpu-hours) are spent, checkpoint written; resume with more continues from it",
        retry=False,
    ),
    Exit.BAD_INPUT: Meaning("bad input or configuration; never retried, the message says what to change", retry=False),
    Exit.ILLEGAL_INSTRUCTION: Meaning(
        "ended by SIGILL: the CPU lacks an instruction that a library was built for; never retried, choose other nodes",
        retry=False,
    ),
    Exit.ABORTED: Meaning(
        "ended by SIGABRT: CUDA, NCCL or another native library gave up; retried, from the latest checkpoint",
        retry=True,
    ),
    Exit.BUS_ERROR: Meaning(
        "ended by SIGBUS: shared memory is full (shm under resources in the profile), or memory or a disk failed; "
        "retried, from the latest checkpoint",
        retry=True,
    ),
    Exit.ARITHMETIC_ERROR: Meaning("ended by SIGFPE: a bug in native code; never retried", retry=False),
    Exit.KILLED: Meaning("killed by SIGKILL, in a pod by any signal; retried, after an OOM kill only once", retry=True),
    Exit.CRASHED: Meaning(
        "ended by SIGSEGV: native code, the GPU's driver or memory failed; retried, from the latest checkpoint",
        retry=True,
    ),
    Exit.TERMINATED: Meaning("ended by SIGTERM before it could handle the signal; retried", retry=True),
}


class StageError(Exception):
    """Ends a stage with an exit code of its own. The message is one or more sentences a person can act on."""

    exit: Exit = Exit.BUG


class BadInput(StageError):
    """Input or configuration that no retry can fix. The message names the file, the value and what to do."""

    exit = Exit.BAD_INPUT


class OtherVersion(BadInput):
    """A stored record was written in a format that this code does not read. It is left as it is."""


class ServiceAway(StageError):
    """A service (usually S3) did not answer after all retries; a later attempt may succeed."""

    exit = Exit.SERVICE_AWAY


class DeviceFailed(StageError):
    """The GPU, or a process that reads films for it, failed during the stage; a later attempt may succeed."""

    exit = Exit.HARDWARE


class Damaged(StageError):
    """Stored bytes are not those that were written; what is made again replaces them."""

    exit = Exit.HARDWARE


class Stopped(StageError):
    """The stage stopped on request; everything needed to continue is stored."""

    exit = Exit.CHECKPOINTED
