"""Store how an attempt ended that could not do so itself, because its process was killed."""

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.contract import environment
from jobs.contract.exits import TABLE, Exit, StageError
from jobs.contract.stored import layout
from jobs.contract.stored.records import Heartbeat
from jobs.contract.task import TaskId
from workflows.local.attempt import Attempt
from workflows.local.engine import StepRun
from workflows.local.graph import State

if TYPE_CHECKING:
    from jobs.runtime.store import Store


def record_end(store: "Store", run: str, task: TaskId, step: StepRun) -> None:
    """Store the last heartbeat and the log of an attempt that left no end. A store that is away is left out.

    Args:
        store: the run's store.
        run: the run's name.
        task: the step's task.
        step: the step, whose latest attempt has ended.
    """
    attempt = step.attempt
    assert attempt is not None
    assert step.end is not None
    beat = attempt.heartbeat() or _first_beat(task, attempt)
    if beat.exit_code is not None or step.end.exit_code == "0":
        return
    code = int(step.end.exit_code)
    phase = "stopped" if step.state is State.STOPPED else "failed"
    says = TABLE[Exit(code)].says if code in list(Exit) else f"exit code {code}"
    ended = {"phase": phase, "exit_code": code, "message": says, "at": datetime.now(UTC), "eta": None}
    with suppress(StageError):
        of_attempt = layout.attempt(run, task, beat.started, beat.attempt)
        for key in (layout.heartbeat(run, task), layout.attempt_record(of_attempt)):
            store.put(key, beat.model_copy(update=ended).model_dump_json().encode())
        for log in _logs(attempt):
            store.put(layout.log(of_attempt), log.read_bytes())


def _logs(attempt: Attempt) -> list[Path]:
    """The stage's own log, of which the store has what the last heartbeat sent; none if the stage had not begun."""
    scratch = attempt.variables.get(environment.SCRATCH)
    return list(Path(scratch).glob("*/attempt.log")) if scratch else []


def _first_beat(task: TaskId, attempt: Attempt) -> Heartbeat:
    """The heartbeat of an attempt that ended before it sent one."""
    now = datetime.now(UTC)
    started = now - timedelta(seconds=time.monotonic() - attempt.started)
    return Heartbeat(
        stage=task.stage, model=task.model, fold=task.fold, phase="starting", attempt=attempt.number, at=now,
        started=started, node=attempt.variables.get(environment.NODE, ""),
    )  # fmt: skip
