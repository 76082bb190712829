"""Combine Argo's state of a task with the heartbeat or result that it stored. Pure functions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from jobs.contract.durations import duration
from jobs.contract.exits import TABLE, Exit
from jobs.contract.plan import PlannedTask
from workflows.board.rows import FINISHING, Row
from workflows.cluster.workflow_json import SUCCEEDED, TaskNodes, seconds
from workflows.runs.tasks.ended_attempts import how_it_ended, last_ended

# Allowed clock skew; a heartbeat older than its attempt belongs to an earlier workflow.
CLOCK_SKEW: Final = timedelta(seconds=5)
# Seconds after which a start is trouble. A large image takes minutes at first.
SLOW_START: Final = 180.0
# Argo's messages for a pod that is assigned to a node and not running yet.
PREPARING: Final = {"PodInitializing", "ContainerCreating"}


def row_from_argo(
    planned: PlannedTask, nodes: TaskNodes | None, stored: Row | None, *, live: bool, now: datetime
) -> Row:
    """Return a task's row on the board.

    Args:
        planned: the task.
        nodes: Argo's nodes of the task; None if the workflow has not reached it.
        stored: the row from the store, of this workflow or an earlier one of the run; None if the task stored nothing.
        live: whether the workflow is still running.
        now: the current time, for the task's duration.
    """
    row = Row(planned.name, "waiting")
    if nodes is None:
        return replace(row, note=_waits_for(planned)) if live else replace(row, state="omitted", note="never started")
    attempt = nodes.attempts[-1] if nodes.attempts else nodes.task
    number = len(nodes.attempts)
    took = _took(nodes, now)
    row = replace(row, attempt=number, seconds=took, node=attempt.host)
    if nodes.task.phase == SUCCEEDED:
        done = stored if stored and stored.state == "succeeded" else None
        kept = replace(done, attempt=number, seconds=took, eta=None, node=attempt.host) if done else row
        return replace(kept, state="succeeded", phase="done")
    if nodes.task.phase in {"Skipped", "Omitted"}:
        return replace(row, state="omitted", phase="omitted", note="an earlier task did not succeed")
    row = _with_progress(row, stored, attempt.started)
    message, before = tidy(attempt.message or nodes.task.message), _before(nodes, stored)
    # Argo leaves tasks that it stopped before their first pod ran as they were.
    if not nodes.task.live or not live:
        if row.phase == FINISHING:  # Argo shut the workflow down first
            return replace(row, state="succeeded", phase="done", eta=None)
        # Argo may mark a stopped task as failed before its pod ends, without an exit code: trust the heartbeat.
        if attempt.exit_code == str(Exit.CHECKPOINTED.value) or row.phase == "stopped":
            return replace(row, state="stopped", phase="stopped", eta=None, note="wrote a checkpoint")
        if attempt.exit_code == str(Exit.TERMINATED.value):
            return replace(row, state="stopped", phase="stopped", eta=None, note=TABLE[Exit.TERMINATED].says)
        stopped = "shutdown" in nodes.task.message or "shutdown" in attempt.message
        end = "stopped" if stopped else "failed"
        reported = row.phase == "failed"  # the heartbeat has the task's own message
        return replace(row, state=end, phase=end, eta=None, note=row.note if reported else message)
    if attempt.message in PREPARING:
        waited = seconds(attempt.started, "", now) or 0.0
        slow = f" for {duration(waited)}: cv.py explain says why" if waited > SLOW_START else ""
        note = f"pulling the image and starting{slow}{before}"
        return replace(row, state="running", phase="starting", eta=None, note=note)
    if nodes.attempts and attempt.phase == SUCCEEDED:  # after argo retry, until the controller has seen it
        return replace(row, state="running", phase=FINISHING, eta=None)
    if not nodes.attempts or attempt.phase == "Pending":
        return replace(row, state="waiting", phase="queued", eta=None, note=f"{message}{before}")
    if not attempt.live:
        return replace(row, state="waiting", phase="waiting to retry", eta=None, note=how_it_ended(attempt))
    return replace(row, state="running", phase=row.phase or "starting", note=f"{row.note or row.node}{before}")


def tidy(message: str) -> str:
    """Reduce the scheduler's message to its reasons, e.g. ``2 Insufficient nvidia.com/gpu``."""
    text = re.sub(r"^Unschedulable: ", "", message)
    text = re.sub(r",?\s*(no new claims to deallocate,?)?\s*preemption: .*$", "", text)
    return re.sub(r"^\d+/\d+ nodes are available: ", "", text).rstrip(". ,")


def accelerators(
    nodes: Sequence[Mapping[str, Any]], pods: Sequence[Mapping[str, Any]], resource: str, run_label: str
) -> str:
    """Describe who uses the GPUs, e.g. ``4 GPUs, 3 taken by run demo-1a2b, 1 taken by others``.

    Args:
        nodes: the cluster's nodes.
        pods: pods of all namespaces.
        resource: the GPUs' resource name, e.g. ``nvidia.com/gpu``.
        run_label: the label with a pod's run.
    """
    total = sum(int((node.get("status") or {}).get("allocatable", {}).get(resource, 0)) for node in nodes)
    taken: dict[str, int] = {}
    for pod in pods:
        if (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"} or not pod["spec"].get("nodeName"):
            continue
        limits = [
            (container.get("resources") or {}).get("limits") or {} for container in pod["spec"].get("containers") or ()
        ]
        run = (pod["metadata"].get("labels") or {}).get(run_label)
        holder = f"run {run}" if run else "others"
        taken[holder] = taken.get(holder, 0) + sum(int(limit.get(resource, 0)) for limit in limits)
    holders = [f"{count} taken by {holder}" for holder, count in sorted(taken.items()) if count]
    word = "GPU" if resource.endswith("/gpu") else resource
    return ", ".join([f"{total} {word}{'' if total == 1 else 's'}", *(holders or ["none taken"])])


def _waits_for(planned: PlannedTask) -> str:
    if not planned.needs:
        return ""
    return f"for {planned.needs[0].name}" if len(planned.needs) == 1 else f"for {len(planned.needs)} tasks"


def _took(nodes: TaskNodes, now: datetime) -> float | None:
    """Seconds that all attempts took; ``argo retry`` sets the times of the task itself anew."""
    of_task = nodes.task
    spans = [seconds(node.started, node.finished or of_task.finished, now) for node in nodes.attempts]
    known = [span for span in spans if span is not None]
    return sum(known) if known else seconds(of_task.started, of_task.finished, now)


def _before(nodes: TaskNodes, stored: Row | None) -> str:
    """How the attempt before this one ended, in the task's own words if it stored any."""
    if (ended := last_ended(nodes.attempts)) is None:
        return ""
    number, node = ended
    own = stored if stored and stored.phase == "failed" and stored.attempt == number else None
    told = " ".join(own.note.split()) if own and not _earlier(own.at, node.started) else ""
    return f"; attempt {number} ended: {told or how_it_ended(node)}"


def _earlier(at: str, started: str) -> bool:
    """Whether a heartbeat was sent before an attempt started: it belongs to an earlier workflow."""
    return not at or not started or datetime.fromisoformat(at) < datetime.fromisoformat(started) - CLOCK_SKEW


def _with_progress(row: Row, stored: Row | None, started: str) -> Row:
    """Add what the task stored, if this attempt stored it."""
    if stored is None or stored.attempt != row.attempt or _earlier(stored.at, started):
        return row
    return replace(
        row, phase=FINISHING if stored.state == "succeeded" else stored.phase, epoch=stored.epoch,
        epochs=stored.epochs, best=stored.best, eta=stored.eta, node=row.node or stored.node,
        note=" ".join(stored.note.split()), at=stored.at,
    )  # fmt: skip
