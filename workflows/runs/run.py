"""A run, found by its name: in the cluster while it is there, in its store afterwards."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from jobs.contract import layout
from jobs.contract.exits import BadInput, ServiceAway, StageError
from jobs.contract.experiment import Experiment
from jobs.contract.names import RUN_LABEL, check_run_name
from jobs.contract.plan import PlannedTask, plan
from jobs.contract.profile import Profile
from jobs.contract.task import TaskId
from workflows.board.rows import Row
from workflows.cluster import workflow as wf
from workflows.cluster.client import Cluster
from workflows.cluster.http import Json
from workflows.cluster.workflow import TaskNodes
from workflows.manifest.spec import RunSpec
from workflows.runs import stored
from workflows.runs.overlay import accelerators, overlay
from workflows.store.opening import local_store, open_store

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
    def running_pods(self) -> int:
        """Number of pods whose main container still runs; 0 where only Argo's server is known, which does not tell.

        Argo calls a stopped task ended while its pod still writes its checkpoint.
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
    def spec(self) -> RunSpec | None:
        """What was submitted; None for a run without a cluster."""
        from jobs.runtime.store import Missing

        if self.workflow is not None:
            return RunSpec.of_workflow(self.workflow)
        try:
            return RunSpec.stored(self.store, self.name)
        except Missing:
            return None

    @cached_property
    def experiment(self) -> Experiment:
        """The run's experiment.

        Raises:
            BadInput: where nothing is known of such a run.
        """
        if self.spec:
            return self.spec.experiment
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
        if self.spec is None:
            return stored.planned_tasks(self.store, self.name)
        return plan(self.experiment, predicts=self.spec.predicts)

    @cached_property
    def store(self) -> "Store":
        """The run's store, as it is reached from here."""
        known = self.profile or (self.spec.profile if self.workflow and self.spec else None)
        return open_store(known.store if known else None)

    def nodes(self, task: TaskId) -> TaskNodes | None:
        """What Argo says of a task; None where the workflow is gone or has not come to it."""
        return _nodes_of(wf.tasks(self.workflow), task) if self.workflow else None

    def status(self) -> list[Row]:
        """A row for each task."""
        if self.workflow is None:
            return stored.status(self.store, self.name)
        there, nodes, now = self._stored_rows(), wf.tasks(self.workflow), datetime.now(UTC)
        rows = [
            overlay(task, _nodes_of(nodes, task.id), there.get(task.name), live=self.live, now=now)
            for task in self.tasks
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
        resource = self.spec.profile.gpu.resource if self.spec else ""
        waiting = {row.task for row in rows if row.state == "waiting" and resource and resource in row.note}
        if not kubernetes or not waiting:
            return rows
        holders = accelerators(kubernetes.nodes(), kubernetes.pods(None), resource, RUN_LABEL)
        return [replace(row, note=f"{row.note}; {holders}") if row.task in waiting else row for row in rows]


def _nodes_of(nodes: Mapping[str, TaskNodes], task: TaskId) -> TaskNodes | None:
    """A task's nodes, also in a workflow of release 0.1."""
    return nodes.get(task.name) or nodes.get(task.former_name)


def workflows_of(cluster: Cluster, run: str) -> list[Json]:
    """The workflows of a run that the cluster still has."""
    return cluster.workflows.list(cluster.namespace, f"{RUN_LABEL}={run}")


@contextmanager
def find_run(name: str | None, profile: Profile | None = None) -> Iterator[Run]:
    """A run by its name, in the cluster or in the store; the cluster's newest where no name is given.

    Where the cluster does not know it, no profile names a store, and none is configured, it is looked for in this
    machine's own store.

    Raises:
        BadInput: there is none, or the name cannot be a run's.
        ServiceAway: the cluster does not answer and the store knows no such run.
    """
    if name is not None:
        check_run_name(name)
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
