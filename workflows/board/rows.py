"""What is known of one task of a run: the board's row, the same for a local run, a live one and a stored one."""

from dataclasses import dataclass
from typing import Final

from jobs.contract.records import Heartbeat

FINISHING: Final = "finishing"  # the stage is done, its process has not ended yet


@dataclass(frozen=True)
class Row:
    """What is known of one task."""

    task: str
    state: str  # one of LOOKS
    phase: str = ""
    attempt: int = 0
    epoch: float | None = None
    epochs: int | None = None
    best: float | None = None
    eta: float | None = None  # seconds
    seconds: float | None = None  # it has taken so far, or took
    note: str = ""  # scores, why it waits, what went wrong, the node
    node: str = ""  # where it runs, or ran
    at: str = ""  # when it last gave a sign of life, ISO 8601

    def with_heartbeat(self, beat: Heartbeat) -> "Row":
        """The same with what the task itself says."""
        return Row(
            self.task, self.state, beat.phase, beat.attempt, beat.epoch, beat.epochs, beat.best, beat.eta,
            self.seconds, self.note or beat.message, beat.node, beat.at.isoformat(),
        )  # fmt: skip


def clock(seconds: float | None) -> str:
    """Seconds as people write them: ``0:07``, ``12:30``, ``3:05:00``."""
    if seconds is None:
        return ""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def how_far(row: Row) -> str:
    """Epochs done, of how many."""
    if row.epoch is None or not row.epochs:
        return ""
    return f"{row.epoch:.1f}/{row.epochs}" if row.epoch < row.epochs else f"{row.epochs}/{row.epochs}"
