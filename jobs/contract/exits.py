"""Exit codes of a stage: what each means and whether the task is retried.

Argo's retry expression, the local engine's retries and the sentences of ``explain`` are all generated from ``TABLE``.
64 and 65 belong to Argo's own executor, 2 to usage errors of the command line.
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
    BAD_INPUT = 78
    KILLED = 137
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
    Exit.BAD_INPUT: Meaning("bad input or configuration; never retried, the message says what to change", retry=False),
    Exit.KILLED: Meaning("killed by SIGKILL; retried, after an OOM kill only once", retry=True),
    Exit.TERMINATED: Meaning("ended by SIGTERM before it could handle the signal; retried", retry=True),
}


class StageError(Exception):
    """Ends a stage with an exit code of its own. The message is one or more sentences a person can act on."""

    exit: Exit = Exit.BUG


class BadInput(StageError):
    """Input or configuration that no retry can fix. The message names the file, the value and what to do."""

    exit = Exit.BAD_INPUT


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
