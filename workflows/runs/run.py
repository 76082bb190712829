"""Find a run by name: in the cluster while its workflow exists, in the store afterwards."""

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
from workflows.cluster import workflow_json
from workflows.cluster.client import Cluster
from workflows.cluster.http import Json
from workflows.cluster.workflow_json import TaskNodes
from workflows.manifest.spec import RunSpec
from workflows.runs import stored
from workflows.runs.overlay import accelerators, overlay
from workflows.store.opening import local_store, open_store

if TYPE_CHECKING:
    from jobs.runtime.store import Store


@dataclass
class Run:
    """A run, from its workflows on the cluster and its objects in the store. The store is read on demand."""

    name: str
    cluster: Cluster | None
    profile: Profile | None  # from the command line
    workflows: list[Json]  # of this run, on the cluster
    note: str = ""  # a warning to show, e.g. that the store cannot be reached

    @property
    def workflow(self) -> Json | None:
        """The running workflow, else the newest; None if the cluster has none."""
        return workflow_json.latest(self.workflows)

    @property
    def live(self) -> bool:
        """Whether the run's workflow is pending or running."""
        return self.workflow is not None and workflow_json.live(self.workflow)

    @property
    def running_pods(self) -> int:
        """Number of pods whose main container still runs; 0 without access to Kubernetes.

        Argo marks a stopped task as ended while its pod still writes a checkpoint.
        """
        kubernetes = self.cluster.kubernetes if self.cluster else None
        if not kubernetes or not self.cluster:
            return 0
        pods = kubernetes.pods(self.cluster.namespace, f"{RUN_LABEL}={self.name}")
        containers = [item for pod in pods for item in (pod.get("status") or {}).get("containerStatuses") or ()]
        return sum(container["name"] == "main" and "running" in container["state"] for container in containers)

    @property
    def phase(self) -> str | None:
        """Argo's phase of the workflow; None if the cluster has none."""
        return None if self.workflow is None else workflow_json.phase(self.workflow)

    @property
    def seconds(self) -> float:
        """Duration of the workflow so far."""
        status = (self.workflow or {}).get("status") or {}
        return (
            workflow_json.seconds(status.get("startedAt") or "", status.get("finishedAt") or "", datetime.now(UTC))
            or 0.0
        )

    @cached_property
    def spec(self) -> RunSpec | None:
        """What was submitted; None for a run that was not submitted to a cluster."""
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
            BadInput: the run does not exist.
        """
        if self.spec:
            return self.spec.experiment
        from jobs.runtime.store import Missing

        try:
            return Experiment.model_validate_json(self.store.get(layout.run_experiment(self.name)))
        except Missing as error:
            where = f" or namespace {self.cluster.namespace}" if self.cluster else ""
            raise BadInput(
                f"Run {self.name} does not exist in {self.store.url}{where}. cv.py runs lists all runs."
            ) from error

    @cached_property
    def tasks(self) -> list[PlannedTask]:
        """The run's tasks."""
        if self.spec is None:
            return stored.planned_tasks(self.store, self.name)
        return plan(self.experiment, predicts=self.spec.predicts)

    @cached_property
    def store(self) -> "Store":
        """The run's store, with an endpoint that this machine can reach."""
        profile = self.profile or (self.spec.profile if self.workflow and self.spec else None)
        return open_store(profile.store if profile else None)

    def nodes(self, task: TaskId) -> TaskNodes | None:
        """Argo's nodes of a task; None if the workflow does not exist or has not reached the task."""
        return _nodes_of(workflow_json.tasks(self.workflow), task) if self.workflow else None

    def status(self) -> list[Row]:
        """Return a row for each task."""
        if self.workflow is None:
            return stored.status(self.store, self.name)
        rows_of, nodes, now = self._stored_rows(), workflow_json.tasks(self.workflow), datetime.now(UTC)
        rows = [
            overlay(task, _nodes_of(nodes, task.id), rows_of.get(task.name), live=self.live, now=now)
            for task in self.tasks
        ]
        return self._with_holders(rows)

    def _stored_rows(self) -> dict[str, Row]:
        """Rows by task, from the store. A store that cannot be reached becomes a note: Argo's state is shown anyway."""
        self.note = ""
        try:
            if self.store.size(layout.run_experiment(self.name)) is None:
                return {}  # prepare has not started
            return {row.task: row for row in stored.status(self.store, self.name)}
        except StageError as error:
            self.note = f"Epochs and stored scores are not shown. {error}"
            return {}

    def refresh(self) -> None:
        """Read the run's workflows again."""
        if self.cluster:
            self.workflows = workflows_of(self.cluster, self.name)

    def _with_holders(self, rows: list[Row]) -> list[Row]:
        """Add to the note of each task that waits for a GPU who uses the GPUs."""
        kubernetes = self.cluster.kubernetes if self.cluster else None
        resource = self.spec.profile.gpu.resource if self.spec else ""
        waiting = {row.task for row in rows if row.state == "waiting" and resource and resource in row.note}
        if not kubernetes or not waiting:
            return rows
        holders = accelerators(kubernetes.nodes(), kubernetes.pods(None), resource, RUN_LABEL)
        return [replace(row, note=f"{row.note}; {holders}") if row.task in waiting else row for row in rows]


def _nodes_of(nodes: Mapping[str, TaskNodes], task: TaskId) -> TaskNodes | None:
    """A task's nodes. Workflows of release 0.1 use other task names."""
    return nodes.get(task.name) or nodes.get(task.former_name)


def workflows_of(cluster: Cluster, run: str) -> list[Json]:
    """Return the workflows of a run on the cluster."""
    return cluster.workflows.list(cluster.namespace, f"{RUN_LABEL}={run}")


@contextmanager
def find_run(name: str | None, profile: Profile | None = None) -> Iterator[Run]:
    """Find a run by name, in the cluster or in the store.

    Args:
        name: the run's name; None for the newest run of the cluster.
        profile: the cluster and store to look in. Without a profile and a configured store, a run that the cluster
            does not have is read from this machine's embedded store.

    Raises:
        BadInput: the name is not valid, or missing while the cluster has no run.
        ServiceAway: the cluster does not answer and the store does not have the run.
    """
    if name is not None:
        check_run_name(name)
    cluster, workflows, away = Cluster.find(profile), [], None
    if cluster:
        try:
            if name is None:
                newest = workflow_json.latest(cluster.workflows.list(cluster.namespace, RUN_LABEL))
                name = newest["metadata"]["labels"][RUN_LABEL] if newest else None
            workflows = workflows_of(cluster, name) if name else []
        except ServiceAway as error:
            away = error
    if name is None:
        raise away or BadInput("Name a run. cv.py runs lists all runs.")
    run = Run(name, cluster, profile, workflows)
    if workflows:
        yield run
        return
    with nullcontext() if profile else local_store():
        if run.store.size(layout.run_experiment(name)) is None and away:
            raise away
        yield run
