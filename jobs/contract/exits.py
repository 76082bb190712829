"""Exit codes: what a stage's end means and whether another attempt can help.

Argo's retry expression, the local engine's retries and the sentences of ``explain`` are all generated from ``TABLE``.
64 and 65 belong to Argo's own executor, 2 to usage errors of the command line.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Exit(IntEnum):
    """What the process that ran a stage says with its exit code."""

    DONE = 0
    SERVICE_AWAY = 69
    BUG = 70
    CHECKPOINTED = 75
    BAD_INPUT = 78
    KILLED = 137
    TERMINATED = 143


@dataclass(frozen=True)
class Meaning:
    """What an exit code tells a person, and whether a retry is worth it."""

    says: str
    retry: bool


TABLE: Final[dict[Exit, Meaning]] = {
    Exit.DONE: Meaning("done", retry=False),
    Exit.SERVICE_AWAY: Meaning("a service (S3) or the GPU failed under the stage; tried again later", retry=True),
    Exit.BUG: Meaning("a bug: the traceback is in the log; never retried", retry=False),
    Exit.CHECKPOINTED: Meaning("asked to stop, wrote a checkpoint; the next attempt goes on from it", retry=True),
    Exit.BAD_INPUT: Meaning("bad input or configuration; never retried, the message says what to change", retry=False),
    Exit.KILLED: Meaning("killed by SIGKILL; retried, but once only where the kernel's OOM killer did it", retry=True),
    Exit.TERMINATED: Meaning("ended by SIGTERM before it listened; the next attempt goes on", retry=True),
}


class StageError(Exception):
    """An end that has an exit code of its own. The message is one or more sentences a person can act on."""

    exit: Exit = Exit.BUG


class BadInput(StageError):
    """Input or configuration that no retry can mend: names the file, the value and what to do."""

    exit = Exit.BAD_INPUT


class ServiceAway(StageError):
    """A service (S3, mostly) did not answer after all retries: worth another attempt later."""

    exit = Exit.SERVICE_AWAY


class DeviceFailed(StageError):
    """The GPU, or a process that reads films for it, failed under the stage: worth another attempt."""

    exit = Exit.SERVICE_AWAY


class Stopped(StageError):
    """SIGTERM came, everything needed to go on is stored."""

    exit = Exit.CHECKPOINTED
