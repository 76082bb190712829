"""A run, found by its name: in the cluster while it is there, in its store afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from jobs.contract import layout
from jobs.contract.exits import BadInput, ServiceAway, StageError
from jobs.contract.experiment import Experiment
from jobs.contract.profile import Profile
from workflows import stored
from workflows.board import Row
from workflows.cluster import workflow as wf
from workflows.cluster.client import Cluster
from workflows.cluster.http import Json
from workflows.cluster.status import accelerators, overlay
from workflows.cluster.store import open_store
from workflows.cluster.submission import RUN_LABEL, Submission
from workflows.plan import PlannedTask, plan
from workflows.stores import local_store

if TYPE_CHECKING:
    from jobs.runtime.store import Store


@dataclass
class Run:
    """A run as far as it is known. What the store says is asked for when it is needed."""

    name: str
    cluster: Cluster | None
    profile: Profile | None  # as given on the command line
    workflows: list[Json]  # of this run, that the cluster still has
    note: str = ""  # what could not be looked at, for people

    @property
    def workflow(self) -> Json | None:
        """The workflow that counts: the living one, else the newest."""
        return wf.latest(self.workflows)

    @property
    def live(self) -> bool:
        """Whether the run's workflow still does something."""
        return self.workflow is not None and wf.live(self.workflow)

    @property
    def stages(self) -> int:
        """Pods in which a stage still works. Argo calls a stopped task ended while it writes its checkpoint.

        0 where only Argo's server is known, which does not tell.
        """
        kubernetes = self.cluster.kubernetes if self.cluster else None
        if not kubernetes or not self.cluster:
            return 0
        pods = kubernetes.pods(self.cluster.namespace, f"{RUN_LABEL}={self.name}")
        statuses = [one for pod in pods for one in (pod.get("status") or {}).get("containerStatuses") or ()]
        return sum(one["name"] == "main" and "running" in one["state"] for one in statuses)

    @property
    def phase(self) -> str | None:
        """Argo's phase of the workflow; None where the cluster does not have it any more."""
        return None if self.workflow is None else wf.phase(self.workflow)

    @property
    def seconds(self) -> float:
        """How long the workflow has taken so far, or took."""
        status = (self.workflow or {}).get("status") or {}
        return wf.seconds(status.get("startedAt") or "", status.get("finishedAt") or "", datetime.now(UTC)) or 0.0

    @cached_property
    def submission(self) -> Submission | None:
        """What the run was submitted as; None where it was run without a cluster."""
        from jobs.runtime.store import Missing

        if self.workflow is not None:
            return Submission.of(self.workflow)
        try:
            return Submission.stored(self.store, self.name)
        except Missing:
            return None

    @cached_property
    def experiment(self) -> Experiment:
        """The run's experiment.

        Raises:
            BadInput: where nothing is known of such a run.
        """
        if self.submission:
            return self.submission.experiment
        from jobs.runtime.store import Missing

        try:
            return Experiment.model_validate_json(self.store.get(layout.run_experiment(self.name)))
        except Missing as error:
            where = f" or namespace {self.cluster.namespace}" if self.cluster else ""
            raise BadInput(
                f"No run is named {self.name} in {self.store.url}{where}. cv.py runs lists those there are."
            ) from error

    @cached_property
    def tasks(self) -> list[PlannedTask]:
        """The run's tasks."""
        if self.submission is None:
            return stored.planned(self.store, self.name)
        return plan(self.experiment, self.submission.predict is not None)

    @cached_property
    def store(self) -> "Store":
        """The run's store, as it is reached from here."""
        known = self.profile or (self.submission.profile if self.workflow and self.submission else None)
        return open_store(known.store if known else None)

    def status(self) -> list[Row]:
        """A row for each task."""
        if self.workflow is None:
            return stored.status(self.store, self.name)
        there, nodes, now = self._stored_rows(), wf.tasks(self.workflow), datetime.now(UTC)
        rows = [
            overlay(task, nodes.get(task.name), there.get(task.name), live=self.live, now=now) for task in self.tasks
        ]
        return self._with_holders(rows)

    def _stored_rows(self) -> dict[str, Row]:
        """What the tasks stored. Argo knows the run, so a store that is out of reach is a note and no end."""
        self.note = ""
        try:
            if self.store.size(layout.run_experiment(self.name)) is None:
                return {}  # prepare has not come so far
            return {row.task: row for row in stored.status(self.store, self.name)}
        except StageError as error:
            self.note = f"Epochs and stored scores are not shown. {error}"
            return {}

    def refresh(self) -> None:
        """Look at the cluster again."""
        if self.cluster:
            self.workflows = workflows_of(self.cluster, self.name)

    def _with_holders(self, rows: list[Row]) -> list[Row]:
        """Say of a task that waits for a GPU who has them."""
        kubernetes = self.cluster.kubernetes if self.cluster else None
        resource = self.submission.profile.gpu.resource if self.submission else ""
        waiting = {row.task for row in rows if row.state == "waiting" and resource and resource in row.note}
        if not kubernetes or not waiting:
            return rows
        holders = accelerators(kubernetes.nodes(), kubernetes.pods(None), resource, RUN_LABEL)
        return [replace(row, note=f"{row.note}; {holders}") if row.task in waiting else row for row in rows]


def workflows_of(cluster: Cluster, run: str) -> list[Json]:
    """The workflows of a run that the cluster still has."""
    return cluster.workflows.list(cluster.namespace, f"{RUN_LABEL}={run}")


@contextmanager
def found_run(name: str | None, profile: Profile | None = None) -> Iterator[Run]:
    """A run by its name, in the cluster or in the store; the cluster's newest where no name is given.

    Where the cluster does not know it, no profile names a store, and none is configured, it is looked for in this
    machine's own store.

    Raises:
        BadInput: where there is none.
        ServiceAway: where the cluster does not answer and the store knows no such run.
    """
    cluster, workflows, away = Cluster.find(profile), [], None
    if cluster:
        try:
            if name is None:
                newest = wf.latest(cluster.workflows.list(cluster.namespace, RUN_LABEL))
                name = newest["metadata"]["labels"][RUN_LABEL] if newest else None
            workflows = workflows_of(cluster, name) if name else []
        except ServiceAway as error:
            away = error
    if name is None:
        raise away or BadInput("Which run? cv.py runs lists those there are.")
    run = Run(name, cluster, profile, workflows)
    if workflows:
        yield run
        return
    with nullcontext() if profile else local_store():
        if run.store.size(layout.run_experiment(name)) is None and away:
            raise away
        yield run
