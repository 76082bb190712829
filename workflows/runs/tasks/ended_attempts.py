"""Attempts that ended without success and are tried again. Pure functions."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from jobs.contract.durations import duration
from jobs.contract.exits import TABLE, Exit
from workflows.cluster.workflow_json import NodeStatus, TaskNodes, seconds

# Attempts that end alike for so long will go on ending alike.
ALIKE_SECONDS: Final = 600.0
FEWEST: Final = 3
POD_DELETED: Final = "pod deleted"


def exit_of(node: NodeStatus) -> Exit | None:
    """The exit code of an attempt, if the pipeline's stages use it."""
    if node.exit_code.isdigit() and int(node.exit_code) in list(Exit) and node.message != POD_DELETED:
        return Exit(int(node.exit_code))
    return None


def how_it_ended(node: NodeStatus) -> str:
    """Argo's message and the meaning of the exit code, e.g. ``main: Error (exit code 69): a service (S3) …``."""
    code = exit_of(node)
    meaning = TABLE[code].says.split(";")[0] if code and not node.out_of_memory else ""
    return ": ".join(filter(None, [node.message or node.phase, meaning]))


def last_ended(attempts: Sequence[NodeStatus]) -> tuple[int, NodeStatus] | None:
    """Number (from 1) and status of the last attempt that ended, if a later one is under way."""
    if len(attempts) > 1 and attempts[-1].live:
        return len(attempts) - 1, attempts[-2]
    return None


def alike(nodes: Mapping[str, TaskNodes], now: datetime) -> str:
    """A sentence about tasks of which every attempt for ten minutes ended in the same way; empty without any.

    Stops with a checkpoint and deleted pods do not count: the next attempt continues.
    """
    sentences = []
    for task, of_task in nodes.items():
        ended = [node for node in of_task.attempts if not node.live]
        if not of_task.task.live or len(ended) < FEWEST:
            continue
        ends = {(node.exit_code, node.message) for node in ended}
        took = seconds(ended[0].started, "", now) or 0.0
        if len(ends) > 1 or took < ALIKE_SECONDS:
            continue
        if exit_of(ended[-1]) is Exit.CHECKPOINTED or ended[-1].message == POD_DELETED:
            continue
        sentences.append(f"{task}: {len(ended)} attempts in {duration(took)} all ended with {how_it_ended(ended[-1])}.")
    return " ".join(sentences)
