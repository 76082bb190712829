"""What one attempt at a task cost: seconds by what they went into. A pure function of its record.

Argo's ``resourcesDuration`` counts the same: the time of a pod's main container, here without ``pulling``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jobs.contract.exits import Exit
from jobs.contract.stored.records import Heartbeat
from jobs.contract.task import TaskId

# Seconds without a heartbeat after which an attempt has ended; one comes every 30.
SILENT_AFTER: Final = 100.0
# What the time of a pod on its node goes into, in this order; all but the first are wasted.
PARTS: Final = ("useful", "pulling", "starting", "waiting", "lost")


@dataclass(frozen=True)
class AttemptCost:
    """One attempt at a task.

    Attributes:
        task: the task's name.
        end: done, stopped, failed, killed or running.
        gpus: number of GPUs that its pod held.
        gpu: the GPU's model; empty without one.
        pending: seconds until its pod had a node; nothing was held.
        seconds: what its pod's time went into, by :data:`PARTS`.
    """

    task: str
    end: str
    gpus: int
    gpu: str
    pending: float
    seconds: Mapping[str, float]

    @property
    def held(self) -> float:
        """Seconds that the pod was on its node."""
        return sum(self.seconds.values())


def gpu_seconds(beat: Heartbeat) -> float:
    """Seconds times GPUs that an attempt has held so far."""
    return beat.gpus * (beat.pulling + beat.importing + (beat.at - beat.started).total_seconds())


def attempt_cost(beat: Heartbeat, now: datetime) -> AttemptCost:
    """Divide the time of an attempt.

    Lost is what came after the last stored state, if the attempt did not end well. Waiting for films is counted in the
    rest, in proportion.
    """
    end, ran = _end(beat, now), max(0.0, (beat.at - beat.started).total_seconds())
    lost = 0.0
    if end not in ("done", "running"):
        lost = min(ran, max(0.0, (beat.at - (beat.saved or beat.started)).total_seconds()))
    kept = ran - lost
    waiting = min(kept, beat.spent.get("waiting", 0.0) * kept / ran) if ran else 0.0
    seconds = {
        "useful": kept - waiting, "pulling": beat.pulling, "starting": beat.importing, "waiting": waiting, "lost": lost
    }  # fmt: skip
    task = TaskId(beat.stage, beat.model, beat.fold).name
    return AttemptCost(task, end, beat.gpus, beat.gpu, beat.pending, seconds)


def _end(beat: Heartbeat, now: datetime) -> str:
    if beat.exit_code is None:
        return "running" if (now - beat.at).total_seconds() < SILENT_AFTER else "killed"
    ends = {Exit.DONE: "done", Exit.CHECKPOINTED: "stopped", Exit.BUDGET_SPENT: "stopped", Exit.KILLED: "killed"}
    return ends.get(Exit(beat.exit_code), "failed") if beat.exit_code in list(Exit) else "failed"
