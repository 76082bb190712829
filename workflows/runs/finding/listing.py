"""List all runs: those in the store with their scores, and those that only the cluster knows yet."""

from contextlib import nullcontext
from dataclasses import dataclass

from jobs.contract.exits import BadInput, ServiceAway
from jobs.contract.names import RUN_LABEL
from jobs.contract.profile import Profile
from jobs.contract.stored.records import without_text
from workflows.cluster import workflow_json
from workflows.cluster.client import Cluster, NotConfigured
from workflows.cluster.http import Json
from workflows.manifest.spec import RunSpec
from workflows.runs.stored import StoredRun, list_runs
from workflows.store.opening import local_store, open_store


@dataclass(frozen=True)
class ListedRun:
    """One row of ``cv.py runs``."""

    run: str
    experiment: str
    title: str
    state: str  # Argo's phase; empty if the cluster has no workflow of the run
    tasks: int | None
    done: int | None
    headline: str
    score: float | None
    missing_folds: tuple[int, ...]  # not part of the score
    changed: str
    from_run: str | None = None  # the run whose weights it predicts with; empty if that is not known
    problem: str = ""  # what of it cannot be read

    def cells(self) -> tuple[str, ...]:
        """The cells of the table."""
        done = "" if self.done is None else f"{self.done}/{self.tasks}"
        score = "" if self.score is None else f"{self.score:.4f}{without_text(self.missing_folds)}"
        title = self.problem or self.title
        if self.from_run is not None and not self.problem:
            title = f"prediction with {self.from_run or 'another run'}"
        return self.run, title, self.state, done, self.headline, score, self.changed[:16].replace("T", " ")


def listing(profile: Profile | None) -> tuple[list[ListedRun], str]:
    """Return the runs, the latest first, and a note about a cluster or store that could not be read.

    Raises:
        BadInput: neither a cluster nor a store is configured.
        ServiceAway: the only one configured does not answer.
    """
    notes: list[str] = []
    workflows: list[Json] = []
    stored: list[StoredRun] = []
    try:
        cluster = Cluster.connect(profile)
        workflows = cluster.workflows.list(cluster.namespace, RUN_LABEL)
        notes += filter(None, [cluster.clock_remark()])
    except NotConfigured as error:
        notes += [str(error)] if error.missing else []
    except (BadInput, ServiceAway) as error:
        notes.append(f"Runs on the cluster are not shown. {error}")
    known = profile or next((spec.profile for spec in map(_spec, workflows) if spec), None)
    try:
        with nullcontext() if known else local_store():
            stored = list_runs(open_store(known.store if known else None))
    except (BadInput, ServiceAway) as error:
        if not workflows:
            raise
        notes.append(f"Scores are not shown. {error}")
    latest = {run: workflow_json.current(of_run) for run, of_run in _by_run(workflows).items()}
    listed = [_listed(run, latest.pop(run.name, None)) for run in stored]
    listed += [_unstored(workflow) for workflow in latest.values() if workflow]
    return sorted(listed, key=lambda run: run.changed, reverse=True), " ".join(notes)


def _by_run(workflows: list[Json]) -> dict[str, list[Json]]:
    grouped: dict[str, list[Json]] = {}
    for workflow in workflows:
        grouped.setdefault(workflow["metadata"]["labels"][RUN_LABEL], []).append(workflow)
    return grouped


def _listed(run: StoredRun, workflow: Json | None) -> ListedRun:
    name, title = (run.experiment.name, run.experiment.title) if run.experiment else ("", "")
    return ListedRun(
        run.name, name, title, workflow_json.phase(workflow) if workflow else "",
        run.tasks, run.done, run.headline, run.score, run.missing_folds, run.changed.isoformat(), run.from_run,
        run.problem,
    )  # fmt: skip


def _unstored(workflow: Json) -> ListedRun:
    """A run whose first pod has stored nothing yet. A workflow without a valid spec has the reason as its title."""
    metadata, phase = workflow["metadata"], workflow_json.phase(workflow)
    changed = metadata.get("creationTimestamp") or ""
    try:
        spec = RunSpec.of_workflow(workflow)
    except BadInput as error:
        return ListedRun(metadata["labels"][RUN_LABEL], "", str(error), phase, None, None, "", None, (), changed)
    experiment = spec.experiment
    from_run = spec.test_set.from_run if spec.test_set else None
    return ListedRun(spec.run, experiment.name, experiment.title, phase, None, None, "", None, (), changed, from_run)


def _spec(workflow: Json) -> RunSpec | None:
    """The spec of a workflow; None if it was made by hand, or by another version."""
    try:
        return RunSpec.of_workflow(workflow)
    except BadInput:
        return None
