"""The logs of a run's tasks: read from the pod while it exists, from the store afterwards."""

import heapq
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jobs.contract.exits import BadInput, ServiceAway, StageError
from jobs.contract.names import Stage
from jobs.contract.task import TaskId
from workflows.cluster import workflow_json
from workflows.cluster.http import Unauthorized
from workflows.cluster.workflow_json import NodeStatus
from workflows.runs import stored
from workflows.runs.logs.lines import LineFilter, LogLine, from_pod, from_store
from workflows.runs.run import PATIENCE_SECONDS, Run
from workflows.runs.tasks.argo_state import CLOCK_SKEW

POLL_SECONDS: Final = 3.0


@dataclass(frozen=True)
class TaskFilter:
    """Selects tasks of a run; None selects all."""

    stage: Stage | None = None
    model: str | None = None
    fold: int | None = None

    def __call__(self, task: TaskId) -> bool:
        """Whether the task is selected."""
        return (
            (self.stage is None or task.stage is self.stage)
            and (self.model is None or task.model == self.model)
            and (self.fold is None or task.fold == self.fold)
        )

    def select(self, run: Run) -> list[TaskId]:
        """Return the selected tasks.

        Raises:
            BadInput: no task matches; the message lists the run's tasks.
        """
        selected = [task.id for task in run.tasks if self(task.id)]
        if not selected:
            raise BadInput(
                f"No task of run {run.name} matches the options. Tasks: {', '.join(t.name for t in run.tasks)}."
            )
        return selected


def current_lines(run: Run, tasks: TaskFilter, lines: LineFilter) -> Iterator[LogLine]:
    """Return the lines that the selected tasks have logged so far, merged by time."""
    return filter(lines, _merged(_attempts(run, tasks.select(run), _has_begun)))


def last_lines(run: Run, task: TaskId, count: int) -> list[LogLine]:
    """Return the last lines of a task over all its attempts."""
    return list(deque(_merged(_attempts(run, [task], _has_begun)), maxlen=count))


def follow(run: Run, task_filter: TaskFilter, line_filter: LineFilter, show: Callable[[LogLine], None]) -> None:
    """Show earlier lines, then new lines as they arrive, until the run's workflow ends."""
    if run.workflow is None:
        _follow_store(run, task_filter, line_filter, show)
        return
    lines: queue.Queue[LogLine] = queue.Queue()
    threads: list[threading.Thread] = []
    said = set(run.notes)
    tasks = task_filter.select(run)
    for line in filter(line_filter, _merged(_attempts(run, tasks, _has_ended))):
        show(line)
    # Pods whose log was shown or is being followed.
    seen = {node.pod for task in tasks for node in _nodes(run, task) if _has_ended(node)}
    while True:
        for task, number, node in _living(run, tasks):
            if node.pod not in seen:
                seen.add(node.pod)
                threads.append(_listen(run, task, number, node, lines))
        live = run.live
        until = time.monotonic() + POLL_SECONDS
        while (left := until - time.monotonic()) > 0 and (live or any(thread.is_alive() for thread in threads)):
            try:
                line = lines.get(timeout=min(left, 0.5))
            except queue.Empty:
                continue
            if line_filter(line):
                show(line)
        if not live and lines.empty() and not any(thread.is_alive() for thread in threads):
            return
        run.refresh()
        for note in run.notes:
            if note not in said:
                said.add(note)
                show(LogLine(run.name, 0, "", "warning", f"({note})"))


def _follow_store(run: Run, task_filter: TaskFilter, line_filter: LineFilter, show: Callable[[LogLine], None]) -> None:
    """Follow a run without a cluster: its logs reach the store with each heartbeat."""
    read: dict[str, int] = {}
    while True:
        live = any(row.state in {"waiting", "running"} for row in run.status())
        for name, files in stored.find_logs(run.store, run.name, task_filter.select(run)).items():
            for file in files:
                records, read[file.key] = stored.read_log(run.store, file.key, read.get(file.key, 0))
                for line in filter(line_filter, from_store(name, file.attempt + 1, records)):
                    show(line)
        if not live:
            return
        time.sleep(POLL_SECONDS)


def _listen(run: Run, task: TaskId, number: int, node: NodeStatus, lines: "queue.Queue[LogLine]") -> threading.Thread:
    def listen() -> None:
        try:
            for line in from_pod(task.name, number + 1, _patiently(lambda: _pod_lines(run, node, follow=True))):
                lines.put(line)
        except StageError as error:
            lines.put(LogLine(task.name, number + 1, "", "warning", f"(the log was interrupted: {error})"))

    thread = threading.Thread(target=listen, daemon=True, name=f"log of {node.pod}")
    thread.start()
    return thread


def _patiently(stream: Callable[[], Iterator[str]]) -> Iterator[str]:
    """Yield the lines of a stream; after a cut, open it again and skip those that were yielded.

    Raises:
        ServiceAway, Unauthorized: it cannot be opened again for ``PATIENCE_SECONDS``.
        BadInput: the pod is gone.
    """
    yielded, cut_at = 0, None
    while True:
        try:
            for number, line in enumerate(stream()):
                cut_at = None
                if number >= yielded:
                    yielded += 1
                    yield line
            return
        except (ServiceAway, Unauthorized):
            cut_at = cut_at or time.monotonic()
            if time.monotonic() - cut_at > PATIENCE_SECONDS:
                raise
            time.sleep(POLL_SECONDS)


def _nodes(run: Run, task: TaskId) -> tuple[NodeStatus, ...]:
    nodes = run.nodes(task)
    return nodes.attempts if nodes else ()


def _living(run: Run, tasks: list[TaskId]) -> Iterator[tuple[TaskId, int, NodeStatus]]:
    for task in tasks:
        for number, node in enumerate(_nodes(run, task)):
            if node.phase == "Running":
                yield task, number, node


def _has_begun(node: NodeStatus) -> bool:
    return node.phase != "Pending"


def _has_ended(node: NodeStatus) -> bool:
    return not node.live


def _attempts(run: Run, tasks: list[TaskId], which: Callable[[NodeStatus], bool]) -> Iterator[Iterator[LogLine]]:
    """One iterator per attempt: those that Argo no longer shows, then of those that it shows the ``which`` selects."""
    try:
        files = stored.find_logs(run.store, run.name, tasks)
    except StageError as error:
        if run.workflow is None:
            raise
        files = {}  # pods that still exist can be read without the store
        yield iter([LogLine(run.name, 0, "", "warning", f"(no logs of deleted pods: {error})")])
    for task in tasks:
        mine, nodes = files.get(task.name, []), _nodes(run, task)
        current = [file_of(node, number, mine) for number, node in enumerate(nodes)]
        for file in mine:
            if file not in current:
                yield _of_store(run, task, file)
        for number, (node, stored_log) in enumerate(zip(nodes, current, strict=True)):
            if which(node):
                yield _of_pod(run, task, number, node) or _of_store(run, task, stored_log)


def file_of(node: NodeStatus, number: int, files: Iterable[stored.LogFile]) -> stored.LogFile | None:
    """The stored log of an attempt that Argo shows; None without any.

    Earlier workflows and ``argo retry`` have attempts of the same number: those began before the node did.
    """
    if not node.started:
        return None
    start = datetime.fromisoformat(node.started) - CLOCK_SKEW
    return next((file for file in files if file.attempt == number and file.started >= start), None)


def _of_pod(run: Run, task: TaskId, number: int, node: NodeStatus) -> Iterator[LogLine] | None:
    """A pod's log; None if the pod no longer exists."""
    try:
        lines = list(from_pod(task.name, number + 1, _pod_lines(run, node, follow=False)))
    except BadInput:
        return None
    return iter(lines) if lines else None


def _of_store(run: Run, task: TaskId, file: stored.LogFile | None) -> Iterator[LogLine]:
    return from_store(task.name, file.attempt + 1, stored.read_log(run.store, file.key)[0]) if file else iter(())


def _pod_lines(run: Run, node: NodeStatus, *, follow: bool) -> Iterator[str]:
    assert run.cluster
    assert run.workflow
    return run.cluster.workflows.log(
        run.cluster.namespace, workflow_json.name(run.workflow), node.pod, follow=follow, since=None
    )


def _merged(sources: Iterable[Iterator[LogLine]]) -> Iterator[LogLine]:
    """Merge the lines of several logs by time."""
    return heapq.merge(*(_sorted(source) for source in sources), key=lambda line: line.at)


def _sorted(lines: Iterator[LogLine]) -> Iterator[LogLine]:
    """Give lines without a time the time of the line before, so that merging keeps them together."""
    at = ""
    for line in lines:
        at = max(at, line.at)
        yield LogLine(line.task, line.attempt, at, line.level, line.text)
