"""A row of the board: the state of one task, whether its run is local, on a cluster or stored."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jobs.contract.stored.records import Heartbeat, without_text

FINISHING: Final = "finishing"  # the stage is done, but its process still runs


@dataclass(frozen=True)
class Row:
    """The state of one task.

    Attributes:
        task: its name.
        state: a key of ``workflows.board.board.LOOKS``.
        phase: what the stage does at the moment.
        attempt: its number, from 1; 0 before the first.
        epoch: epochs done, as a fraction inside an epoch.
        epochs: epochs in total.
        best: the best score so far.
        eta: seconds left.
        seconds: how long the task has run or ran.
        note: scores, a reason to wait, an error or the node.
        node: where it runs or ran.
        at: time of its last heartbeat, ISO 8601.
    """

    task: str
    state: str
    phase: str = ""
    attempt: int = 0
    epoch: float | None = None
    epochs: int | None = None
    best: float | None = None
    eta: float | None = None
    seconds: float | None = None
    note: str = ""
    node: str = ""
    at: str = ""

    def with_heartbeat(self, beat: Heartbeat) -> "Row":
        """Return the row updated from the task's heartbeat."""
        return Row(
            self.task, self.state, beat.phase, beat.attempt + 1, beat.epoch, beat.epochs, beat.best, beat.eta,
            self.seconds, self.note or beat.message, beat.node, beat.at.isoformat(),
        )  # fmt: skip


def how_far(row: Row) -> str:
    """Format the epochs done and in total, e.g. ``3.5/12``; an empty string if they are unknown."""
    if row.epoch is None or not row.epochs:
        return ""
    return f"{row.epoch:.1f}/{row.epochs}" if row.epoch < row.epochs else f"{row.epochs}/{row.epochs}"


def missing_folds(rows: Sequence[Row]) -> tuple[int, ...]:
    """Return the folds that a result is without: the last task succeeded, a task of these folds did not."""
    if not rows or rows[-1].state != "succeeded":
        return ()
    lost = (re.search(r"-fold-(\d+)$", row.task) for row in rows if row.state != "succeeded")
    return tuple(sorted({int(match[1]) for match in lost if match}))


def score_line(metrics: Mapping[str, Any]) -> str:
    """Format a run's ``metrics.json``: its headline score with the interval, and what it is without; empty if none."""
    figure, score = metrics["headline"]["figure"], metrics["headline"]["score"]
    if score is None:
        return ""
    interval = metrics["figures"][figure]["interval"]
    around = f"  (95 % interval {interval['low']:.4f} to {interval['high']:.4f})" if interval else ""
    left_out = ", ".join(metrics["left_out"])
    around += f"  ({left_out}: no ground truth, left out of the mean)" if left_out else ""
    return f"{figure:<12}{score:.4f}{without_text(metrics['missing_folds'])}{around}"
