"""Explain the state of a task from Argo's node, the pod's events, the exit code and the end of the log."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from jobs.contract.exits import TABLE, Exit, StageError
from jobs.contract.task import TaskId
from workflows.board.rows import Row, how_far
from workflows.cluster.workflow_json import NodeStatus
from workflows.runs.logs.reading import TaskFilter, last_lines
from workflows.runs.run import Run
from workflows.runs.tasks.argo_state import SLOW_START
from workflows.runs.tasks.ended_attempts import last_ended

LAST_LINES: Final = 6
# Reasons of the scheduler, the kubelet and quotas that do not pass by waiting, and what helps.
REMEDIES: Final = {
    "didn't match Pod's node affinity/selector": "correct node_selector or gpu_node_selector in the profile "
    "(kubectl get nodes --show-labels); then cv.py stop {run}; cv.py resume {run} --profile PROFILE",
    "untolerated taint": "add tolerations to the profile, or remove the taint (kubectl describe nodes); then cv.py "
    "stop {run}; cv.py resume {run} --profile PROFILE",
    "ImagePullBackOff": "cv.py doctor looks for the image; for a registry with a login: kubectl create secret "
    "docker-registry NAME, and NAME under images.pull_secrets in the profile",
    "must specify limits": "the namespace's quota wants limits: cv.py doctor names them; then cv.py resume {run}",
    "exceeded quota": "wait, or ask for a larger quota (kubectl describe resourcequota); then cv.py resume {run}",
}
# Argo's own exit codes.
ARGO_CODES: Final = {"64": "Argo's executor failed in the pod", "65": "Argo's supervisor failed in the pod"}


@dataclass(frozen=True)
class Explanation:
    """The state of a task, its cause and the next command."""

    task: str
    state: str
    paragraph: str
    lines: tuple[str, ...]  # the end of the log
    events: tuple[str, ...]  # Kubernetes' warnings about the pod
    next: str  # the next command

    def text(self) -> list[str]:
        """The text that ``explain`` prints."""
        parts = [self.paragraph]
        parts += ["Last log lines:", *(f"    {line}" for line in self.lines)] if self.lines else []
        parts += ["Events of the pod:", *(f"    {event}" for event in self.events)] if self.events else []
        return [*parts, f"Next: {self.next}"]


def failed_alike_once(explanations: Sequence[Explanation]) -> list[Explanation]:
    """Make one explanation of failures that differ in nothing but the task, as five folds often fail alike."""
    alike: dict[tuple[str, ...], list[Explanation]] = {}
    for item in explanations:
        last = item.lines[-1].partition(" ")[2] if item.lines else ""  # without its time
        same = (item.paragraph.removeprefix(item.task), last) if item.state == "failed" else (item.task,)
        alike.setdefault(same, []).append(item)
    merged = []
    for first, *others in alike.values():
        names = ", ".join(item.task for item in (first, *others))
        merged.append(replace(first, task=names, paragraph=names + first.paragraph.removeprefix(first.task)))
    return merged


def explain(run: Run, task_filter: TaskFilter) -> list[Explanation]:
    """Explain the selected tasks; without a selection, those that failed, were stopped, are queued or tried again.

    Raises:
        BadInput: the run or the task does not exist.
    """
    rows = {row.task: row for row in run.status()}
    tasks = task_filter.select(run)
    selected = task_filter != TaskFilter()
    explained = [
        task for task in tasks if selected or rows[task.name].state in {"failed", "stopped"} or _stuck(rows[task.name])
    ]
    return [_explain(run, task, rows[task.name]) for task in explained]


def _stuck(row: Row) -> bool:
    slow = row.phase == "starting" and (row.seconds or 0.0) > SLOW_START
    return (
        slow or row.phase in {"queued", "waiting to retry"} or (row.state in ("waiting", "running") and row.attempt > 1)
    )


def _explain(run: Run, task: TaskId, row: Row) -> Explanation:
    nodes = run.nodes(task)
    attempts = nodes.attempts if nodes else ()
    last = attempts[-1] if attempts else None
    sentences = [_first_sentence(task, row, len(attempts))]
    if last and not last.live and row.state != "succeeded":
        sentences += _end(last, task, run)
    elif last is None and row.note and row.state in {"failed", "stopped"}:
        sentences.append(f"{row.note[:1].upper()}{row.note[1:].rstrip('.')}.")
    elif row.note not in ("", row.node) and row.state == "waiting":
        sentences.append(f"Reason: {row.note.split('; attempt ')[0]}.")
    if ended := last_ended(attempts):
        number, before = ended
        sentences += [f"Attempt {number} ended.", *_end(before, task, run)]
    lines = _log(run, task)
    events = _events(run, last) if last and row.state != "succeeded" else ()
    return Explanation(task.name, row.state, " ".join(sentences), lines, events, _next(run, task, row, last))


def _log(run: Run, task: TaskId) -> tuple[str, ...]:
    try:
        return tuple(f"{line.at[11:]} {line.text}".strip() for line in last_lines(run, task, LAST_LINES))
    except StageError as error:  # the rest of the explanation does not need the log
        return (f"(no log: {error})",)


def _first_sentence(task: TaskId, row: Row, attempts: int) -> str:
    verbs = {"succeeded": "succeeded", "failed": "failed", "stopped": "was stopped", "omitted": "was omitted"}
    tries = f" after {attempts} attempts" if attempts > 1 and row.state in verbs else ""
    where = f" on {row.node}" if row.node else ""
    epoch = f", epoch {how_far(row)}" if how_far(row) else ""
    return f"{task.name} {verbs.get(row.state, f'is {row.phase or row.state}')}{tries}{where}{epoch}."


def _end(node: NodeStatus, task: TaskId, run: Run) -> list[str]:
    sentences = [f"Argo's message: {node.message.rstrip('.')}."] if node.message else []
    if node.out_of_memory:
        memory = node.memory or "its memory"
        return [*sentences, f"The kernel's OOM killer ended it: {memory} was not enough."]
    if node.exit_code.isdigit() and int(node.exit_code) in list(Exit):
        if node.message == "pod deleted":
            return [*sentences, "The pod was deleted: by a person, a node drain or preemption."]
        return [*sentences, f"Exit code {node.exit_code} means: {TABLE[Exit(int(node.exit_code))].says}."]
    if node.exit_code in ARGO_CODES:
        return [*sentences, f"Exit code {node.exit_code} means: {ARGO_CODES[node.exit_code]}."]
    if node.exit_code and node.exit_code != "-1":
        return [*sentences, f"The pipeline does not use exit code {node.exit_code}."]
    return sentences


def _events(run: Run, node: NodeStatus) -> tuple[str, ...]:
    """Warnings about the pod. Kubernetes keeps events for an hour."""
    if not run.cluster or not (kubernetes := run.cluster.kubernetes) or not node.pod:
        return ()
    namespace = run.cluster.namespace
    events = run.optional("What Kubernetes says of the pods", lambda: kubernetes.events(namespace, node.pod))
    return tuple(dict.fromkeys(_event(event) for event in events or () if event.get("type") != "Normal"))


def _event(event: dict[str, Any]) -> str:
    times = event.get("count") or 1
    return f"{event.get('reason')}: {event.get('message')}" + (f" ({times} times)" if times > 1 else "")


def remedy_of(message: str) -> str | None:
    """What helps against a reason that does not pass by waiting; None if it may pass."""
    if "Insufficient" in message:  # some nodes fit and are full: the other reasons are of other nodes
        return None
    return next((remedy for reason, remedy in REMEDIES.items() if reason in message), None)


def _next(run: Run, task: TaskId, row: Row, last: NodeStatus | None) -> str:
    options = f" -s {task.stage}" + (f" -m {task.model} -k {task.fold}" if task.model else "")
    if row.state == "succeeded":
        return f"cv.py logs {run.name}{options}"
    if row.state in ("waiting", "failed") and (remedy := remedy_of(f"{row.note} {last.message if last else ''}")):
        return remedy.format(run=run.name)
    if row.state == "running":
        return f"cv.py logs {run.name}{options} -f"
    if row.state == "omitted":
        return f"cv.py explain {run.name}"
    if last and last.exit_code == str(Exit.BUDGET_SPENT.value):
        return f"cv.py resume {run.name} --max-gpu-hours MORE"
    if row.state == "stopped" or (last and last.out_of_memory):
        return f"cv.py resume {run.name}"
    if row.state == "failed" and last and last.exit_code == str(Exit.BAD_INPUT.value):
        return f"fix what the message names, then cv.py submit again, or cv.py resume {run.name}"
    if row.state == "failed" and last and last.exit_code == str(Exit.BUG.value):
        resume = f"cv.py resume {run.name} --revision NEW"
        return f"cv.py logs {run.name}{options}; after fixing the bug and building new images: {resume}"
    if row.state == "failed":
        return f"cv.py resume {run.name}"
    if "Insufficient" in row.note:
        return f"wait, or free resources: cv.py runs; cv.py doctor; cv.py status {run.name} -w"
    return f"cv.py doctor; cv.py status {run.name} -w"
