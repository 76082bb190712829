"""Read runs from the store: the references, heartbeats and logs of their tasks. Needs no cluster."""

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.contract.durations import duration
from jobs.contract.exits import BadInput, Damaged, OtherVersion
from jobs.contract.experiment import Experiment
from jobs.contract.plan import PlannedTask, plan
from jobs.contract.stored import layout
from jobs.contract.stored.records import Heartbeat, Record, Reference, score_text
from jobs.contract.task import TaskId
from workflows.board.rows import Row
from workflows.settings.schema import nearest

if TYPE_CHECKING:
    from jobs.runtime.store import Store

SILENT_AFTER = 100.0  # seconds; a heartbeat comes every 30
END_STATES = {"done": "succeeded", "failed": "failed", "stopped": "stopped"}  # last phase → state


@dataclass(frozen=True)
class StoredRun:
    """A run in the store.

    Attributes:
        experiment: None where it cannot be read; neither are ``tasks`` and ``done`` known then.
        tasks: number of its tasks.
        done: number of those that are done.
        headline: name of the headline figure.
        missing_folds: not part of the score.
        from_run: the run whose weights it predicts with; empty if that is not known.
        problem: what of it cannot be read, and why.
    """

    name: str
    experiment: Experiment | None
    tasks: int | None
    done: int | None
    headline: str
    score: float | None
    missing_folds: tuple[int, ...]
    changed: datetime
    from_run: str | None = None
    problem: str = ""


class _Headline(Record):
    figure: str = ""
    score: float | None = None


class _Metrics(Record):
    """What a list of runs shows of ``metrics.json``."""

    headline: _Headline = _Headline()
    missing_folds: tuple[int, ...] = ()


def list_runs(store: "Store") -> list[StoredRun]:
    """Return all runs, the latest first. Skips folders that are not a run of this pipeline."""
    names = list(store.folders(layout.RUNS))
    with ThreadPoolExecutor(8) as pool:
        runs = [run for run in pool.map(lambda name: _stored_run(store, name), names) if run]
    return sorted(runs, key=lambda run: run.changed, reverse=True)


def experiment_file(store: "Store", run: str, folder: Path) -> Path:
    """Write a run's experiment to a YAML file in ``folder`` and return its path.

    Raises:
        BadInput: the run does not exist; the message names the nearest.
    """
    experiment, _ = _open(store, run)
    file = folder / f"{run}.yaml"  # JSON is YAML
    file.write_text(experiment.model_dump_json())
    return file


def planned_tasks(store: "Store", run: str) -> list[PlannedTask]:
    """Return the tasks of a run.

    Raises:
        BadInput: the run does not exist; the message names the nearest.
    """
    experiment, keys = _open(store, run)
    return _tasks(store, experiment, run, keys)


def status(store: "Store", run: str) -> list[Row]:
    """Return a row for each task of a run, in the order of the workflow.

    Raises:
        BadInput: the run does not exist; the message names the nearest.
    """
    experiment, keys = _open(store, run)
    now = store.clock.now()
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda task: _row(store, run, task, keys, now), _tasks(store, experiment, run, keys)))


def ended(rows: Sequence[Row], now: datetime) -> list[Row]:
    """Return the rows of a run that no cluster executes.

    A task without a recent heartbeat was killed; if no task sent one lately, nobody starts those that wait.
    """
    last = max((row.at for row in rows if row.at), default="")
    over = not last or _silent(last, now)
    return [_ended(row, now, over=over) for row in rows]


def _ended(row: Row, now: datetime, *, over: bool) -> Row:
    if row.state == "running" and _silent(row.at, now):
        killed = "its process was killed, or its machine went down"
        return replace(row, state="failed", phase="failed", eta=None, note=f"{row.note}: {killed}")
    return replace(row, state="omitted", note=row.note or "never started") if row.state == "waiting" and over else row


def _silent(at: str, now: datetime) -> bool:
    return (now - datetime.fromisoformat(at)).total_seconds() > SILENT_AFTER


@dataclass(frozen=True)
class LogFile:
    """The log of one attempt at a task."""

    started: datetime
    attempt: int  # starts at 0 in each workflow of the run
    key: str


def find_logs(store: "Store", run: str, tasks: Iterable[TaskId]) -> dict[str, list[LogFile]]:
    """Return the logs of a run's tasks by task name, the oldest first."""
    names = {layout.task(run, task): task.name for task in tasks}
    logs: dict[str, list[LogFile]] = {name: [] for name in names.values()}
    for key in sorted(entry.key for entry in store.list(f"{layout.run(run)}/")):
        name, attempt = names.get(key.rpartition("/")[0]), layout.read_log(key)
        if name and attempt:
            logs[name].append(LogFile(*attempt, key))
    return logs


def read_log(store: "Store", key: str, start: int = 0) -> tuple[list[dict[str, str]], int]:
    """Read a log's complete records from byte ``start`` (keys: at, level, logger, text) and the next start."""
    data = store.get(key)[start:]
    whole = data[: data.rfind(b"\n") + 1]
    return [record for line in whole.splitlines() if (record := _log_record(line))], start + len(whole)


def _log_record(line: bytes) -> dict[str, str] | None:
    """Read a line of a log; None where it is damaged."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and {"at", "level", "logger", "text"} <= record.keys() else None


def read_experiment(store: "Store", run: str) -> Experiment:
    """Return a run's experiment.

    Raises:
        Missing: there is none.
        BadInput: it cannot be read.
    """
    try:
        return store.get_record(layout.run_experiment(run), Experiment)
    except Damaged as error:
        raise BadInput(f"{error} The command that started the run stores it again.") from error


def _open(store: "Store", run: str) -> tuple[Experiment, set[str]]:
    keys = {entry.key for entry in store.list(f"{layout.run(run)}/")}
    if layout.run_experiment(run) not in keys:
        names = list(store.folders(layout.RUNS))
        near = nearest(run, names)
        hint = f"Did you mean {near}?" if near else f"Runs: {', '.join(names) or 'none'}."
        raise BadInput(f"Run {run} does not exist in {store.url}. {hint}")
    return read_experiment(store, run), keys


def _tasks(store: "Store", experiment: Experiment, run: str, keys: set[str]) -> list[PlannedTask]:
    test_set = _test_set(store, run, keys)
    if not test_set and not _predicted(run, keys):
        return plan(experiment)
    return plan(experiment, predicts=True, scores=bool(test_set.get("overlap")))


def _predicted(run: str, keys: set[str]) -> bool:
    return any(layout.of_test_set(run, key) for key in keys)


def _test_set(store: "Store", run: str, keys: set[str]) -> Mapping[str, Any]:
    """Return the test set that was ordered; empty where there is none, or the order is damaged."""
    key = layout.run_order(run)
    with suppress(Damaged):
        order = store.get_json(key) if key in keys else {}
        test_set = order.get("test_set") if isinstance(order, dict) else {}
        return test_set if isinstance(test_set, dict) else {}
    return {}


def _row(store: "Store", run: str, task: PlannedTask, keys: set[str], now: datetime) -> Row:
    row = Row(task.name, "waiting")
    reference = beat = None
    try:
        if (key := layout.heartbeat(run, task.id)) in keys:
            beat = store.get_record(key, Heartbeat)
        if (key := layout.reference(run, task.id)) in keys:
            reference = store.get_record(key, Reference)
    except (Damaged, OtherVersion) as error:
        row = replace(row, note=str(error))
    if beat is not None:
        row = _row_of_beat(row, beat, now)
    if reference is not None and (row.state != "running" or beat is None or beat.at < reference.created):
        note = score_text(reference.scores)
        at = reference.created.isoformat()
        return replace(row, state="succeeded", phase="done", attempt=reference.attempt + 1, note=note, at=at)
    return row


def alive(beat: Heartbeat, now: datetime) -> bool:
    """Whether a task has not ended and sent its heartbeat in time."""
    return beat.phase not in END_STATES and (now - beat.at).total_seconds() < SILENT_AFTER


def _row_of_beat(row: Row, beat: Heartbeat, now: datetime) -> Row:
    state = END_STATES.get(beat.phase, "running")
    end = beat.at if state != "running" else now
    note = beat.message if state != "running" else beat.node
    silent = (now - beat.at).total_seconds()
    if state == "running" and silent > SILENT_AFTER:
        note = f"no heartbeat for {duration(silent)}"
    seconds = beat.earlier + (end - beat.started).total_seconds()
    return replace(row, state=state, seconds=seconds, note=note).with_heartbeat(beat)


def _stored_run(store: "Store", name: str) -> StoredRun | None:
    entries = {entry.key: entry for entry in store.list(f"{layout.run(name)}/")}
    if layout.run_experiment(name) not in entries:
        return None
    changed = max(entry.modified for entry in entries.values())
    try:
        experiment = read_experiment(store, name)
    except BadInput as error:
        return StoredRun(name, None, None, None, "", None, (), changed, problem=str(error))
    keys = set(entries)
    tasks = _tasks(store, experiment, name, keys)
    from_run = _test_set(store, name, keys).get("from_run") or ("" if _predicted(name, keys) else None)
    done = sum(layout.reference(name, task.id) in entries for task in tasks)
    metrics, problem = _Metrics(), ""
    if (key := layout.report(name, "metrics.json")) in entries:
        try:
            metrics = store.get_record(key, _Metrics)
        except Damaged as error:
            problem = f"{error} cv.py resume {name} makes it again."
    headline = metrics.headline
    return StoredRun(
        name, experiment, len(tasks), done, headline.figure, headline.score, metrics.missing_folds, changed, from_run,
        problem,
    )  # fmt: skip
