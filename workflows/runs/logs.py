"""What the tasks of a run say: from the pod while it lives, from the store afterwards."""

import heapq
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from jobs.contract.exits import BadInput, StageError
from jobs.contract.names import Stage
from jobs.contract.task import TaskId
from workflows.cluster import workflow as wf
from workflows.cluster.workflow import Node
from workflows.runs import stored
from workflows.runs.lines import Line, Wanted, from_pod, from_store
from workflows.runs.run import Run

LOOK_AGAIN_SECONDS: Final = 3.0


@dataclass(frozen=True)
class Pick:
    """Which tasks of a run are meant."""

    stage: Stage | None = None
    model: str | None = None
    fold: int | None = None

    def __call__(self, task: TaskId) -> bool:
        """Whether the task is meant."""
        return (
            (self.stage is None or task.stage is self.stage)
            and (self.model is None or task.model == self.model)
            and (self.fold is None or task.fold == self.fold)
        )

    def of(self, run: Run) -> list[TaskId]:
        """The tasks that are meant.

        Raises:
            BadInput: where there is none.
        """
        picked = [task.id for task in run.tasks if self(task.id)]
        if not picked:
            raise BadInput(
                f"No task of run {run.name} is meant by that; it has {', '.join(t.name for t in run.tasks)}."
            )
        return picked


def there_now(run: Run, pick: Pick, wanted: Wanted) -> Iterator[Line]:
    """All lines there are now, of all picked tasks, merged by time."""
    return filter(wanted, _merged(_attempts(run, pick.of(run), _has_begun)))


def last_lines(run: Run, task: TaskId, wanted: Wanted, last: int) -> list[Line]:
    """The last lines of a task, over all its attempts."""
    lines = filter(wanted, _merged(_attempts(run, [task], _has_begun)))
    return list(deque(lines, maxlen=last))


def follow(run: Run, pick: Pick, wanted: Wanted, show: Callable[[Line], None]) -> None:
    """Show lines as they come, until the run's workflow ends. What was said before comes first."""
    if run.workflow is None:
        _follow_store(run, pick, wanted, show)
        return
    lines: queue.Queue[Line] = queue.Queue()
    threads: list[threading.Thread] = []
    tasks = pick.of(run)
    for line in filter(wanted, _merged(_attempts(run, tasks, _has_ended))):
        show(line)
    # Pods whose log was shown, or is being.
    told = {node.pod for task in tasks for node in _nodes(run, task) if _has_ended(node)}
    while True:
        for task, number, node in _living(run, tasks):
            if node.pod not in told:
                told.add(node.pod)
                threads.append(_listen(run, task, number, node, lines))
        live = run.live
        until = time.monotonic() + LOOK_AGAIN_SECONDS
        while (left := until - time.monotonic()) > 0 and (live or any(thread.is_alive() for thread in threads)):
            try:
                line = lines.get(timeout=min(left, 0.5))
            except queue.Empty:
                continue
            if wanted(line):
                show(line)
        if not live and lines.empty() and not any(thread.is_alive() for thread in threads):
            return
        run.refresh()


def _follow_store(run: Run, pick: Pick, wanted: Wanted, show: Callable[[Line], None]) -> None:
    """A run without a cluster: its heartbeats bring its logs to the store."""
    read: dict[str, int] = {}
    while True:
        live = any(row.state in {"waiting", "running"} for row in run.status())
        for name, files in stored.find_logs(run.store, run.name, pick.of(run)).items():
            for file in files:
                records, read[file.key] = stored.read_log(run.store, file.key, read.get(file.key, 0))
                for line in filter(wanted, from_store(name, file.attempt, records)):
                    show(line)
        if not live:
            return
        time.sleep(LOOK_AGAIN_SECONDS)


def _listen(run: Run, task: TaskId, number: int, node: Node, lines: "queue.Queue[Line]") -> threading.Thread:
    def listen() -> None:
        try:
            for line in from_pod(task.name, number, _pod_lines(run, node, follow=True)):
                lines.put(line)
        except StageError as error:
            lines.put(Line(task.name, number, "", "warning", f"(the log broke off: {error})"))

    thread = threading.Thread(target=listen, daemon=True, name=f"log of {node.pod}")
    thread.start()
    return thread


def _nodes(run: Run, task: TaskId) -> tuple[Node, ...]:
    nodes = run.nodes(task)
    return nodes.attempts if nodes else ()


def _living(run: Run, tasks: list[TaskId]) -> Iterator[tuple[TaskId, int, Node]]:
    for task in tasks:
        for number, node in enumerate(_nodes(run, task)):
            if node.phase == "Running":
                yield task, number, node


def _has_begun(node: Node) -> bool:
    return node.phase != "Pending"


def _has_ended(node: Node) -> bool:
    return not node.live


def _attempts(run: Run, tasks: list[TaskId], which: Callable[[Node], bool]) -> Iterator[Iterator[Line]]:
    """What attempts at tasks have said so far: those of earlier workflows, then of this one, those that are meant."""
    try:
        files = stored.find_logs(run.store, run.name, tasks)
    except StageError as error:
        if run.workflow is None:
            raise
        files = {}  # Argo knows the run: what its pods still say is worth telling
        yield iter([Line(run.name, 0, "", "warning", f"(no log of pods that are gone: {error})")])
    began = wf.created(run.workflow) if run.workflow else None
    for task in tasks:
        mine = files.get(task.name, [])
        for file in mine:
            if began is None or file.started < began:
                yield _of_store(run, task, file)
        now = {file.attempt: file for file in mine if began and file.started >= began}
        for number, node in enumerate(_nodes(run, task)):
            if which(node):
                yield _of_pod(run, task, number, node) or _of_store(run, task, now.get(number))


def _of_pod(run: Run, task: TaskId, number: int, node: Node) -> Iterator[Line] | None:
    """A pod's log; None where it is gone with its pod."""
    try:
        lines = list(from_pod(task.name, number, _pod_lines(run, node, follow=False)))
    except BadInput:
        return None
    return iter(lines) if lines else None


def _of_store(run: Run, task: TaskId, file: stored.LogFile | None) -> Iterator[Line]:
    return from_store(task.name, file.attempt, stored.read_log(run.store, file.key)[0]) if file else iter(())


def _pod_lines(run: Run, node: Node, *, follow: bool) -> Iterator[str]:
    assert run.cluster
    assert run.workflow
    return run.cluster.workflows.log(run.cluster.namespace, wf.name(run.workflow), node.pod, follow=follow, since=None)


def _merged(sources: Iterable[Iterator[Line]]) -> Iterator[Line]:
    """Lines of several logs by time."""
    return heapq.merge(*(_sorted(source) for source in sources), key=lambda line: line.at)


def _sorted(lines: Iterator[Line]) -> Iterator[Line]:
    """A log is in order of time as it is; lines without a time stay beside those before them."""
    at = ""
    for line in lines:
        at = max(at, line.at)
        yield Line(line.task, line.attempt, at, line.level, line.text)
