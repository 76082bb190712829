"""What became of each task of a run: Argo's word for its pod, laid over what the task itself stored. Pure functions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from jobs.contract.exits import TABLE, Exit
from jobs.contract.plan import PlannedTask
from workflows.board.rows import FINISHING, Row
from workflows.cluster.workflow import SUCCEEDED, TaskNodes, seconds

# Clocks differ a little; a sign of life that is older than its attempt is an earlier workflow's.
CLOCKS_DIFFER: Final = timedelta(seconds=5)
# What Argo says of a pod that has a node already.
PREPARING: Final = {"PodInitializing", "ContainerCreating"}


def overlay(planned: PlannedTask, nodes: TaskNodes | None, stored: Row | None, *, live: bool, now: datetime) -> Row:
    """A task's row.

    Args:
        planned: the task.
        nodes: what Argo says of it; None where the workflow has not come to it.
        stored: what the task stored, in this workflow or an earlier one of the same run; None where nothing.
        live: whether the workflow still does something.
        now: the time, for how long the task has taken.
    """
    row = Row(planned.name, "waiting")
    if nodes is None:
        return replace(row, note=_waits_for(planned)) if live else replace(row, state="omitted", note="never started")
    attempt = nodes.attempts[-1] if nodes.attempts else nodes.task
    number = max(len(nodes.attempts) - 1, 0)
    took = seconds(nodes.task.started, nodes.task.finished, now)
    row = replace(row, attempt=number, seconds=took, node=attempt.host)
    if nodes.task.phase == SUCCEEDED:
        done = stored if stored and stored.state == "succeeded" else None
        kept = replace(done, attempt=number, seconds=took, eta=None, node=attempt.host) if done else row
        return replace(kept, state="succeeded", phase="done")
    if nodes.task.phase in {"Skipped", "Omitted"}:
        return replace(row, state="omitted", phase="left out", note="an earlier task did not succeed")
    row = _with_progress(row, stored, attempt.started)
    message = tidy(attempt.message or nodes.task.message)
    if not nodes.task.live:
        if row.phase == FINISHING:  # Argo shut the workflow down before it saw that
            return replace(row, state="succeeded", phase="done", eta=None)
        # Argo may call a stopped task ended before its pod has, and see no exit code: the task's own word counts.
        if attempt.exit_code == str(Exit.CHECKPOINTED.value) or row.phase == "stopped":
            return replace(row, state="stopped", phase="stopped", eta=None, note="wrote a checkpoint")
        if attempt.exit_code == str(Exit.TERMINATED.value):
            return replace(row, state="stopped", phase="stopped", eta=None, note=TABLE[Exit.TERMINATED].says)
        stopped = "shutdown" in nodes.task.message or "shutdown" in attempt.message
        end = "stopped" if stopped else "failed"
        told = row.phase == "failed"  # the task itself said what went wrong
        return replace(row, state=end, phase=end, eta=None, note=row.note if told else message)
    if attempt.message in PREPARING:
        return replace(row, state="running", phase="starting", eta=None, note="the image is fetched and started")
    if not nodes.attempts or attempt.phase == "Pending":
        return replace(row, state="waiting", phase="queued", eta=None, note=message)
    if not attempt.live:
        return replace(row, state="waiting", phase="again soon", eta=None, note=message)
    return replace(row, state="running", phase=row.phase or "starting", note=row.note or row.node)


def tidy(message: str) -> str:
    """The scheduler's words without what stands around them: ``2 Insufficient nvidia.com/gpu``."""
    text = re.sub(r"^Unschedulable: ", "", message)
    text = re.sub(r",?\s*(no new claims to deallocate,?)?\s*preemption: .*$", "", text)
    return re.sub(r"^\d+/\d+ nodes are available: ", "", text).rstrip(". ,")


def accelerators(
    nodes: Sequence[Mapping[str, Any]], pods: Sequence[Mapping[str, Any]], resource: str, run_label: str
) -> str:
    """Who has the GPUs, e.g. ``4 GPUs, 3 taken by run demo-1a2b, 1 taken by others``.

    Args:
        nodes: the cluster's nodes.
        pods: pods of all namespaces.
        resource: what the GPUs are asked for as, e.g. ``nvidia.com/gpu``.
        run_label: the label that names a pod's run.
    """
    total = sum(int((node.get("status") or {}).get("allocatable", {}).get(resource, 0)) for node in nodes)
    taken: dict[str, int] = {}
    for pod in pods:
        if (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"} or not pod["spec"].get("nodeName"):
            continue
        limits = [(one.get("resources") or {}).get("limits") or {} for one in pod["spec"].get("containers") or ()]
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


def _with_progress(row: Row, stored: Row | None, started: str) -> Row:
    """With what the task stored, where that is of this very attempt."""
    if stored is None or not stored.at or not started or stored.attempt != row.attempt:
        return row
    if datetime.fromisoformat(stored.at) < datetime.fromisoformat(started) - CLOCKS_DIFFER:
        return row
    return replace(
        row, phase=FINISHING if stored.state == "succeeded" else stored.phase, epoch=stored.epoch,
        epochs=stored.epochs, best=stored.best, eta=stored.eta, node=row.node or stored.node,
        note=" ".join(stored.note.split()), at=stored.at,
    )  # fmt: skip
