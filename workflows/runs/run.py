"""A run: its state, its rows and what was ordered, from its workflows on the cluster and its objects in the store."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final

from jobs.contract.durations import duration
from jobs.contract.exits import BadInput, Damaged, StageError
from jobs.contract.experiment import Experiment
from jobs.contract.names import RUN_LABEL
from jobs.contract.plan import PlannedTask
from jobs.contract.profile import Profile
from jobs.contract.stored import layout
from jobs.contract.stored.records import Notice
from jobs.contract.task import TaskId
from workflows.board.rows import Row
from workflows.cluster import workflow_json
from workflows.cluster.client import Cluster, NotConfigured
from workflows.cluster.http import Json, NoAnswer, NotThere, Unauthorized
from workflows.cluster.workflow_json import TaskNodes
from workflows.manifest.spec import RunSpec
from workflows.runs import stored
from workflows.runs.notes import Found, Notes
from workflows.runs.tasks.argo_state import accelerators, row_from_argo
from workflows.runs.tasks.ended_attempts import alike
from workflows.store.opening import open_store

if TYPE_CHECKING:
    from jobs.runtime.store import Store

# How long watching and following go on while the cluster does not answer, or refuses the credentials.
PATIENCE_SECONDS: Final = 900.0


@dataclass
class Run:
    """A run, from its workflows on the cluster and its objects in the store. The store is read on demand."""

    name: str
    cluster: Cluster | None
    profile: Profile | None  # from the command line
    workflows: list[Json]  # of this run, on the cluster
    absence: StageError | None = None  # why the cluster has no workflow of the run
    deleted: bool = False  # whether its workflow was removed from the cluster since the run was found
    _notes: Notes = field(default_factory=Notes)
    _rows: dict[str, Row] = field(default_factory=dict)  # the last that were read from the store
    _away_since: float | None = None  # time.monotonic()

    @property
    def workflow(self) -> Json | None:
        """Of the running workflows the one that got furthest, else that which ended last; None if there is none."""
        return workflow_json.current(self.workflows)

    @property
    def running(self) -> list[Json]:
        """The workflows that are pending, running or suspended: several after ``argo resubmit``."""
        return [workflow for workflow in self.workflows if workflow_json.live(workflow)]

    @property
    def live(self) -> bool:
        """Whether a workflow of the run is pending, running or suspended."""
        return bool(self.running)

    @property
    def phase(self) -> str | None:
        """Argo's phase of the workflow, or Suspended; None if the cluster has none."""
        return None if self.workflow is None else workflow_json.phase(self.workflow)

    @property
    def suspended(self) -> list[str]:
        """Names of the workflows that ``argo suspend`` holds."""
        names = {workflow_json.name(item): workflow_json.phase(item) for item in self.running}
        return [name for name, phase in names.items() if phase == workflow_json.SUSPENDED]

    @property
    def seconds(self) -> float | None:
        """Duration of the workflow so far; None without one, as of a run on this machine."""
        if self.workflow is None:
            return None
        status = self.workflow.get("status") or {}
        return workflow_json.seconds(status.get("startedAt") or "", status.get("finishedAt") or "", self.now()) or 0.0

    def now(self) -> datetime:
        """The time of the cluster, or of the store: this machine's clock may be wrong."""
        return self.cluster.now() if self.cluster and self.workflows else self.store.clock.now()

    @property
    def unreachable(self) -> StageError | None:
        """Why a configured cluster could not be asked whether the run is there; None if it was asked."""
        return None if isinstance(self.absence, NotThere | NotConfigured) else self.absence

    @property
    def notes(self) -> list[str]:
        """Sentences to show beside the rows: what cannot be shown, and what concerns the run as a whole."""
        # Without any cluster, a run in the store needs no remark.
        usual = isinstance(self.absence, NotConfigured) and not self.absence.missing
        notes = [str(self.absence)] if self.absence and not usual else []
        if len(self.running) > 1 and self.workflow:
            names = ", ".join(map(workflow_json.name, self.running))
            notes.append(
                f"{len(self.running)} workflows of this run are running at once: {names}. The rows are those of "
                f"{workflow_json.name(self.workflow)}, which got furthest; cv.py stop {self.name} stops all of them."
            )
        for name in self.suspended:
            notes.append(f"Workflow {name} is suspended: no further pod starts. cv.py resume {self.name} continues it.")
        if self.workflow and self.live and (repeated := alike(workflow_json.tasks(self.workflow), self.now())):
            notes.append(f"{repeated} cv.py explain {self.name} says more.")
        if self.workflow and self.cluster and (remark := self.cluster.clock_remark()):
            notes.append(remark)
        return [*notes, *self._notes.values()]

    @property
    def note(self) -> str:
        """The notes as one text."""
        return " ".join(self.notes)

    def optional(self, topic: str, look: Callable[[], Found]) -> Found | None:
        """Return what an optional look-up finds; None, and a note, if it is refused or fails."""
        return self._notes.optional(topic, look)

    def running_pods(self) -> int:
        """Number of pods whose main container still runs; 0 if they cannot be listed.

        Argo marks a stopped task as ended while its pod still writes a checkpoint.
        """
        if not self.cluster or not (kubernetes := self.cluster.kubernetes):
            return 0
        namespace = self.cluster.namespace
        pods = self.optional(
            "Whether pods still write a checkpoint", lambda: kubernetes.pods(namespace, f"{RUN_LABEL}={self.name}")
        )
        containers = [item for pod in pods or () for item in (pod.get("status") or {}).get("containerStatuses") or ()]
        return sum(container["name"] == "main" and "running" in container["state"] for container in containers)

    @cached_property
    def spec(self) -> RunSpec | None:
        """What was submitted, or run on the user's machine; None where only the experiment is stored, or damaged.

        Raises:
            BadInput: neither the workflow nor the store has a valid spec.
        """
        from jobs.runtime.store import Missing

        try:
            if self.workflow is not None:
                return RunSpec.of_workflow(self.workflow)
        except BadInput as error:
            try:
                return RunSpec.stored(self.store, self.name)
            except (Missing, StageError, ValueError):
                raise error from None
        try:
            return RunSpec.stored(self.store, self.name)
        except (Missing, Damaged):
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
            return stored.read_experiment(self.store, self.name)
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
        return self.spec.tasks

    @cached_property
    def store(self) -> "Store":
        """The run's store, with an endpoint that this machine can reach."""
        return open_store(self.settings.store if self.settings else None)

    @cached_property
    def settings(self) -> Profile | None:
        """The profile that the run uses: the command line's, else the workflow's; None if neither is known."""
        if self.profile or self.workflow is None:
            return self.profile
        try:
            return RunSpec.of_workflow(self.workflow).profile
        except BadInput:
            return None

    def nodes(self, task: TaskId) -> TaskNodes | None:
        """Argo's nodes of a task; None if the workflow does not exist or has not reached the task."""
        return _nodes_of(workflow_json.tasks(self.workflow), task) if self.workflow else None

    def status(self) -> list[Row]:
        """Return a row for each task."""
        self._note_untold()
        if self.workflow is None:
            rows = stored.status(self.store, self.name)
            return rows if self.unreachable else stored.ended(rows, self.store.clock.now())
        rows_of, nodes, now = self._stored_rows(), workflow_json.tasks(self.workflow), self.now()
        live = workflow_json.live(self.workflow)
        rows = [
            row_from_argo(task, _nodes_of(nodes, task.id), rows_of.get(task.name), live=live, now=now)
            for task in self.tasks
        ]
        return self._with_holders(rows)

    def _note_untold(self) -> None:
        """Note which receivers of the profile the exit handler of the ended workflow did not reach."""
        if self.workflow is None or self.live or not self.settings or not self.settings.notify:
            return
        key = layout.notice(self.name, self.workflow["metadata"]["uid"], self.phase or "")
        with suppress(StageError):
            found = self.store.find_json(key)
            if found is None:
                self._notes["notice"] = "Nobody was told that it ended: the exit handler did not run to its end."
            elif problems := Notice.model_validate(found).problems:
                self._notes["notice"] = problems

    def _stored_rows(self) -> dict[str, Row]:
        """Rows by task, from the store; the last ones while it cannot be reached: Argo's state is shown anyway."""
        try:
            if self.store.size(layout.run_experiment(self.name)) is None:
                return {}  # prepare has not started
            self._rows = {row.task: row for row in stored.status(self.store, self.name)}
            self._notes.pop("store", None)
        except StageError as error:
            self._notes["store"] = f"Epochs and stored scores are not shown. {error}"
        return self._rows

    def refresh(self) -> None:
        """Read the run's workflows again. Keep the last ones, with a note, while the cluster does not answer.

        Raises:
            NoAnswer, Unauthorized: that lasts longer than ``PATIENCE_SECONDS``.
        """
        if not self.cluster:
            return
        try:
            found = workflows_of(self.cluster, self.name)
        except (NoAnswer, Unauthorized) as error:
            if self._away_since is None:
                self._away_since = time.monotonic()
                at = f"{datetime.now(UTC):%H:%M:%S} UTC"
                self._notes["away"] = f"{at}: {error} The last known state is shown; still trying."
            elif time.monotonic() - self._away_since > PATIENCE_SECONDS:
                raise
            return
        if self._away_since is not None:
            took = duration(time.monotonic() - self._away_since)
            self._notes["away"] = f"{self.cluster.what} answers again, after {took}."
            self._away_since = None
        if self.workflows and not found:
            names = ", ".join(map(workflow_json.name, self.running)) or workflow_json.name(self.workflows[-1])
            self.absence = NotThere(
                f"Workflow {names} was deleted from namespace {self.cluster.namespace}; the rows are those of the "
                "store. cv.py submit with the same options runs the missing tasks."
            )
            self.deleted = True
        self.workflows = found

    def _with_holders(self, rows: list[Row]) -> list[Row]:
        """Add to the note of each task that waits for a GPU who uses the GPUs."""
        kubernetes = self.cluster.kubernetes if self.cluster else None
        resource = self.spec.profile.gpu.resource if self.spec else ""
        waiting = {row.task for row in rows if row.state == "waiting" and resource and resource in row.note}
        if not kubernetes or not waiting:
            return rows
        holders = self.optional(
            "Who uses the GPUs",
            lambda: accelerators(kubernetes.nodes(), kubernetes.pods(None), resource, RUN_LABEL),
        )
        if holders is None:
            return rows
        return [replace(row, note=f"{row.note}; {holders}") if row.task in waiting else row for row in rows]


def _nodes_of(nodes: Mapping[str, TaskNodes], task: TaskId) -> TaskNodes | None:
    """A task's nodes. Workflows of release 0.1 use other task names."""
    return nodes.get(task.name) or nodes.get(task.former_name)


def workflows_of(cluster: Cluster, run: str) -> list[Json]:
    """Return the workflows of a run on the cluster."""
    return cluster.workflows.list(cluster.namespace, f"{RUN_LABEL}={run}")
