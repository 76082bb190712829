"""``python -m jobs notify``, the workflow's exit handler: tell people once how a run ended.

Apprise sends: one library for webhooks, Slack, mail and more, whose addresses hold all that a receiver needs.
"""

import logging
import os
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from jobs.contract import environment
from jobs.contract.exits import BadInput, Damaged, Exit
from jobs.contract.experiment import Experiment
from jobs.contract.names import check_run_name
from jobs.contract.plan import plan
from jobs.contract.stored import layout
from jobs.contract.stored.records import Heartbeat, Notice, Receiver, Reference, without_text
from jobs.contract.task import TaskId
from jobs.runtime.store import Missing, Store

if TYPE_CHECKING:
    import apprise

log = logging.getLogger("notify")

LONGEST_MESSAGE: Final = 200  # characters of a task's message
WORDS: Final = {"succeeded": "success", "degraded": "warning", "stopped": "warning", "failed": "failure"}


@dataclass(frozen=True)
class TaskEnd:
    """How a task of the run ended, as the store knows it."""

    name: str
    state: str  # done, stopped, failed, or unknown where it left no word
    message: str = ""


@dataclass(frozen=True)
class Ending:
    """How a workflow of a run ended."""

    run: str
    workflow: str
    succeeded: bool  # as Argo says
    experiment: str
    tasks: Sequence[TaskEnd]
    metrics: Mapping[str, Any]  # metrics.json; empty without a score
    pages: Sequence[str]  # URLs of the result and of Argo's page

    @property
    def status(self) -> str:
        """One word: succeeded, degraded, stopped or failed."""
        states = {task.state for task in self.tasks}
        if self.succeeded:
            return "succeeded"
        if self.metrics and self.metrics.get("degraded"):
            return "degraded"
        return "stopped" if "stopped" in states and "failed" not in states else "failed"

    @property
    def score(self) -> str:
        """The headline, e.g. ``map6 0.9450 (0.9170 to 0.9690)``; empty without one."""
        headline = self.metrics.get("headline") or {}
        if headline.get("score") is None:
            return ""
        interval = headline.get("interval") or {}
        bounds = f" ({interval['low']:.4f} to {interval['high']:.4f})" if interval else ""
        missing = without_text(self.metrics.get("missing_folds", ()))
        return f"{headline['figure']} {headline['score']:.4f}{bounds}{missing}"

    @property
    def failures(self) -> list[str]:
        """A line for each task that did not end well."""
        if self.succeeded:
            return []
        return [f"{task.name}: {task.message}" for task in self.tasks if task.state in ("failed", "stopped")]

    @property
    def title(self) -> str:
        """E.g. ``Run demo succeeded: map6 0.9450``."""
        done = sum(task.state == "done" for task in self.tasks)
        told = self.score or f"{done} of {len(self.tasks)} tasks are done"
        verb = {"degraded": "ended degraded", "stopped": "was stopped"}.get(self.status, self.status)
        return f"Run {self.run} {verb}: {told}"

    @property
    def text(self) -> str:
        """Experiment, failures, links and the next command, a line each."""
        lines = [f"Experiment {self.experiment}, workflow {self.workflow}.", *self.failures, *self.pages]
        if not self.succeeded:
            lines.append(f"cv.py explain {self.run} shows the cause, cv.py resume {self.run} runs the missing tasks.")
        return "\n".join(lines)


def notify() -> Exit:
    """Tell the receivers of the profile how the run ended, unless they were told.

    A receiver that does not answer is logged and recorded; it never fails the run.

    Raises:
        BadInput: the environment is not that of an exit handler.
        ServiceAway: the store does not answer.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stdout)
    try:
        run, (name, uid, status) = check_run_name(os.environ[environment.RUN]), os.environ[environment.WORKFLOW].split()
        experiment = Experiment.model_validate_json(os.environ[environment.EXPERIMENT])
        addresses = os.environ[environment.ADDRESSES].split()
    except (KeyError, ValueError, ValidationError) as error:
        raise BadInput(f"This is the exit handler of a workflow; its environment lacks something: {error}.") from error
    store, pages = Store.from_environment(), os.environ.get(environment.PAGES, "").split()
    ending = read_ending(store, run, experiment, name, pages, succeeded=status == "Succeeded")
    tell(store, ending, layout.notice(run, uid, status), addresses)
    return Exit.DONE


def read_ending(
    store: Store, run: str, experiment: Experiment, workflow: str, pages: Sequence[str], *, succeeded: bool
) -> Ending:
    """Read from the store how the run's tasks ended, and its score if it has one."""
    tasks = [task.id for task in plan(experiment, predicts=bool(os.environ.get(environment.FROM_RUN)))]
    ends = [_task_end(store, run, task) for task in tasks]
    metrics: Mapping[str, Any] = {}
    if ends[-1].state == "done":  # else it is that of an earlier workflow
        with suppress(Missing, Damaged):
            metrics = store.get_json(layout.report(run, "metrics.json"))
    return Ending(run, workflow, succeeded, experiment.name, ends, metrics, pages)


def _task_end(store: Store, run: str, task: TaskId) -> TaskEnd:
    reference, beat = None, None
    with suppress(Missing, Damaged):
        reference = store.get_record(layout.reference(run, task), Reference)
    with suppress(Missing, Damaged):
        beat = store.get_record(layout.heartbeat(run, task), Heartbeat)
    if reference is not None and (beat is None or beat.exit_code == Exit.DONE or beat.at <= reference.created):
        return TaskEnd(task.name, "done")
    if beat is None:
        return TaskEnd(task.name, "unknown")
    if beat.exit_code == Exit.CHECKPOINTED:
        return TaskEnd(task.name, "stopped", "stopped, checkpoint written")
    if beat.exit_code == Exit.BUDGET_SPENT:
        return TaskEnd(task.name, "stopped", beat.message)
    message = " ".join(beat.message.split())[:LONGEST_MESSAGE]
    killed = "killed without a last word, or its node went down"
    return TaskEnd(task.name, "failed", killed if beat.exit_code is None else message)


def tell(store: Store, ending: Ending, key: str, addresses: Sequence[str]) -> Notice:
    """Send the notice of a workflow to all addresses, unless an attempt has begun to: nobody is told twice.

    Args:
        store: has the record of what was told.
        ending: how the workflow ended.
        key: of that record.
        addresses: Apprise addresses.

    Returns:
        The stored notice, of this attempt or of the one that was first.
    """
    notice = Notice(
        run=ending.run, workflow=ending.workflow, status=ending.status, title=ending.title, text=ending.text,
        sender=uuid.uuid4().hex, at=datetime.now(UTC),
    )  # fmt: skip
    if not store.put_json(key, notice.model_dump(mode="json"), if_absent=True):
        first = store.get_record(key, Notice)
        if first.sender != notice.sender:  # else the answer to this very write was lost
            log.info("told by an earlier attempt, at %s", first.at)
            return first
    notice = notice.model_copy(update={"receivers": tuple(_send(address, ending) for address in addresses)})
    store.put_json(key, notice.model_dump(mode="json"))
    return notice


def _send(address: str, ending: Ending) -> Receiver:
    """Send once: a second try after a timeout could tell twice."""
    import apprise

    scheme = address.partition(":")[0][:20]
    with apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as said:  # type: ignore[no-untyped-call]
        service = apprise.Apprise.instantiate(address)
        if service is None:
            problem = "no address that Apprise knows: github.com/caronc/apprise/wiki lists them"
            log.warning("%s://…: %s", scheme, problem)
            return Receiver(address=f"{scheme}://…", problem=problem)
        _add_fields(service, ending)
        kind = apprise.NotifyType(WORDS[ending.status])
        told = bool(service.notify(title=ending.title, body=ending.text, notify_type=kind))
        problem = "" if told else " ".join(said.getvalue().split()) or "it did not accept the notice"
    shown = f"{scheme}://{service.host}" if getattr(service, "host", None) else f"{scheme}://…"
    log.log(logging.INFO if told else logging.WARNING, "%s: %s", shown, "told" if told else problem)
    return Receiver(address=shown, told=told, problem=problem[:LONGEST_MESSAGE])


def _add_fields(service: "apprise.NotifyBase", ending: Ending) -> None:
    """A webhook (json://, xml://, form://) gets fields for a program beside the text."""
    extras = getattr(service, "payload_extras", None)
    if isinstance(extras, dict):
        extras |= {"run": ending.run, "workflow": ending.workflow, "status": ending.status, "score": ending.score}
        extras |= {"failures": "\n".join(ending.failures), "link": next(iter(ending.pages), "")}
