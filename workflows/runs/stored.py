"""What the store knows of runs: the references, heartbeats and logs that tasks leave there. Right without pods."""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from jobs.contract import layout
from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage
from jobs.contract.plan import PlannedTask, plan
from jobs.contract.records import Heartbeat, Reference, score_text
from jobs.contract.task import TaskId
from workflows.board.rows import Row, clock
from workflows.settings.schema import nearest

if TYPE_CHECKING:
    from jobs.runtime.store import Store

SILENT_AFTER = 100.0  # seconds; a heartbeat comes every 30
ENDS = {"done": "succeeded", "failed": "failed", "stopped": "stopped"}  # a heartbeat's last phase → state


@dataclass(frozen=True)
class StoredRun:
    """A run as the store has it."""

    name: str
    experiment: Experiment
    tasks: int
    done: int
    headline: str  # which figure
    score: float | None
    missing_folds: tuple[int, ...]  # that the score was made without
    changed: datetime


def list_runs(store: "Store") -> list[StoredRun]:
    """All runs, the latest first. What is no run of this pipeline's is passed over."""
    names = list(store.folders(layout.RUNS))
    with ThreadPoolExecutor(8) as pool:
        runs = [run for run in pool.map(lambda name: _stored_run(store, name), names) if run]
    return sorted(runs, key=lambda run: run.changed, reverse=True)


def experiment_file(store: "Store", run: str, folder: Path) -> Path:
    """A run's experiment as a file, to be read and changed like any other.

    Raises:
        BadInput: where there is no such run; names the nearest.
    """
    experiment, _ = _open(store, run)
    file = folder / f"{run}.yaml"  # JSON is YAML
    file.write_text(experiment.model_dump_json())
    return file


def planned_tasks(store: "Store", run: str) -> list[PlannedTask]:
    """The tasks of a run; those of a test set, where it predicts one.

    Raises:
        BadInput: where there is no such run; names the nearest.
    """
    experiment, keys = _open(store, run)
    return _tasks(experiment, run, keys)


def status(store: "Store", run: str) -> list[Row]:
    """One row a task of a run, in the order of the workflow.

    Raises:
        BadInput: where there is no such run; names the nearest.
    """
    experiment, keys = _open(store, run)
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda task: _row(store, run, task, keys), _tasks(experiment, run, keys)))


@dataclass(frozen=True)
class LogFile:
    """The log of one attempt at a task."""

    started: datetime
    attempt: int  # counted anew each time that the run was sent
    key: str


def find_logs(store: "Store", run: str, tasks: Iterable[TaskId]) -> dict[str, list[LogFile]]:
    """The logs of a run's tasks, by the task's name, the oldest first."""
    names = {layout.task(run, task): task.name for task in tasks}
    found: dict[str, list[LogFile]] = {name: [] for name in names.values()}
    for key in sorted(entry.key for entry in store.list(f"{layout.run(run)}/")):
        name, attempt = names.get(key.rpartition("/")[0]), layout.read_log(key)
        if name and attempt:
            found[name].append(LogFile(*attempt, key))
    return found


def read_log(store: "Store", key: str, start: int = 0) -> tuple[list[dict[str, str]], int]:
    """Records of a log from a byte on (keys: at, level, logger, text), and the byte to go on from."""
    data = store.get(key)[start:]
    whole = data[: data.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], start + len(whole)


def _open(store: "Store", run: str) -> tuple[Experiment, set[str]]:
    keys = {entry.key for entry in store.list(f"{layout.run(run)}/")}
    if layout.run_experiment(run) not in keys:
        names = list(store.folders(layout.RUNS))
        near = nearest(run, names)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(names)}" if names else "there is none at all"
        raise BadInput(f"there is no run {run} in {store.url}; {hint}")
    return Experiment.model_validate_json(store.get(layout.run_experiment(run))), keys


def _tasks(experiment: Experiment, run: str, keys: set[str]) -> list[PlannedTask]:
    predicts = any(key.startswith(f"{layout.task(run, TaskId(Stage.PREDICT))}/") for key in keys)
    return plan(experiment, predicts=predicts)


def _row(store: "Store", run: str, task: PlannedTask, keys: set[str]) -> Row:
    row = Row(task.name, "waiting")
    reference = beat = None
    if (key := layout.reference(run, task.id)) in keys:
        reference = Reference.model_validate_json(store.get(key))
    if (key := layout.heartbeat(run, task.id)) in keys:
        beat = Heartbeat.model_validate_json(store.get(key))
    if beat is not None:
        row = _row_of_beat(row, beat)
    if reference is not None and (row.state != "running" or beat is None or beat.at < reference.created):
        note = score_text(reference.scores)
        at = reference.created.isoformat()
        return replace(row, state="succeeded", phase="done", attempt=reference.attempt, note=note, at=at)
    return row


def _row_of_beat(row: Row, beat: Heartbeat) -> Row:
    state = ENDS.get(beat.phase, "running")
    end = beat.at if state != "running" else datetime.now(UTC)
    note = beat.message if state != "running" else beat.node
    silent = (datetime.now(UTC) - beat.at).total_seconds()
    if state == "running" and silent > SILENT_AFTER:
        note = f"no sign of life for {clock(silent)}"
    seconds = (end - beat.started).total_seconds()
    return replace(row, state=state, seconds=seconds, note=note).with_heartbeat(beat)


def _stored_run(store: "Store", name: str) -> StoredRun | None:
    entries = {entry.key: entry for entry in store.list(f"{layout.run(name)}/")}
    if layout.run_experiment(name) not in entries:
        return None
    try:
        experiment = Experiment.model_validate_json(store.get(layout.run_experiment(name)))
    except ValidationError:
        return None  # of another version
    tasks = _tasks(experiment, name, set(entries))
    done = sum(layout.reference(name, task.id) in entries for task in tasks)
    metrics: Mapping[str, Any] = {}
    if (key := layout.report(name, "metrics.json")) in entries:
        metrics = store.get_json(key)
    headline, missing = metrics.get("headline", {}), tuple(metrics.get("missing_folds", ()))
    changed = max(entry.modified for entry in entries.values())
    return StoredRun(
        name, experiment, len(tasks), done, headline.get("figure", ""), headline.get("score"), missing, changed
    )
