"""Send a run to the cluster, once: the same run twice goes on with the same workflow."""

from dataclasses import dataclass

from jobs.contract.exits import BadInput
from workflows.cluster import workflow as wf
from workflows.cluster.client import Cluster
from workflows.cluster.http import Exists, Json
from workflows.cluster.run import workflows_of
from workflows.cluster.submission import RUN_LABEL, Submission, named, workflow_name

ATTEMPTS = 5  # at a free name, where others submit the same run at the same time


@dataclass(frozen=True)
class Submitted:
    """What became of a submission."""

    run: str
    workflow: str
    namespace: str
    created: bool  # False: it was running already
    page: str | None
    logs: str

    def lines(self) -> list[str]:
        """For people."""
        first = f"Run {self.run} {'is submitted' if self.created else 'is running already'}: workflow {self.workflow}."
        return [first, *([f"Argo  {self.page}"] if self.page else []), f"Logs  {self.logs}"]


def running(submission: Submission, cluster: Cluster) -> Submitted | None:
    """The run, where it is running already.

    Raises:
        BadInput: where what runs under its name is another experiment.
    """
    return _running(submission, cluster, workflows_of(cluster, submission.run))


def submit(submission: Submission, cluster: Cluster, manifest: Json) -> Submitted:
    """Create the run's workflow unless one is running.

    Args:
        submission: what to run.
        cluster: where.
        manifest: as the submission builds it.

    Raises:
        BadInput: where the run is another experiment's, or the cluster refuses the workflow.
    """
    there = workflows_of(cluster, submission.run)
    for _ in range(ATTEMPTS):
        if found := _running(submission, cluster, there):
            return found
        name = workflow_name(submission.run, map(wf.name, there))
        try:
            cluster.workflows.create(cluster.namespace, named(manifest, name))
        except Exists:  # somebody else was first
            there = workflows_of(cluster, submission.run)
            continue
        return _submitted(submission, cluster, name, created=True)
    raise BadInput(
        f"Workflow {name} is there and is no run {submission.run} ({RUN_LABEL}): remove it, or choose another --run."
    )


def _running(submission: Submission, cluster: Cluster, there: list[Json]) -> Submitted | None:
    """A run is one experiment; a name given by hand must not join two while one of them runs."""
    workflow = next((workflow for workflow in there if wf.live(workflow)), None)
    if workflow is None:
        return None
    if Submission.of(workflow).films.hash != submission.films.hash:
        raise BadInput(
            f"Run {submission.run} is running with another experiment: stop it first (cv.py stop {submission.run}), "
            "or choose another --run."
        )
    return _submitted(submission, cluster, wf.name(workflow), created=False)


def _submitted(submission: Submission, cluster: Cluster, workflow: str, *, created: bool) -> Submitted:
    page = cluster.workflows.page(cluster.namespace, workflow)
    if submission.profile.argo_url:
        page = f"{submission.profile.argo_url.rstrip('/')}/workflows/{cluster.namespace}/{workflow}"
    selector = f"-n {cluster.namespace} -l {RUN_LABEL}={submission.run}"
    logs = f"kubectl logs {selector} -c main --prefix -f --max-log-requests 100"  # it follows five pods by itself
    return Submitted(submission.run, workflow, cluster.namespace, created, page, logs)
