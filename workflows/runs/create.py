"""Create a run's workflow on the cluster, once: the same run twice continues the same workflow."""

from dataclasses import dataclass

from jobs.contract.exits import BadInput
from jobs.contract.names import RUN_LABEL
from workflows.cluster import workflow as wf
from workflows.cluster.client import Cluster
from workflows.cluster.http import Exists, Json
from workflows.manifest.spec import RunSpec, named, workflow_name
from workflows.runs.run import workflows_of

ATTEMPTS = 5  # at a free name, where others submit the same run at the same time


@dataclass(frozen=True)
class Created:
    """What became of a spec."""

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


def running(spec: RunSpec, cluster: Cluster) -> Created | None:
    """The run, where it is running already.

    Raises:
        BadInput: where what runs under its name is another experiment.
    """
    return _running(spec, cluster, workflows_of(cluster, spec.run))


def create(spec: RunSpec, cluster: Cluster, manifest: Json) -> Created:
    """Create the run's workflow unless one is running.

    Args:
        spec: what to run.
        cluster: where.
        manifest: as built from the spec.

    Raises:
        BadInput: where the run is another experiment's, or the cluster refuses the workflow.
    """
    there = workflows_of(cluster, spec.run)
    for _ in range(ATTEMPTS):
        if found := _running(spec, cluster, there):
            return found
        name = workflow_name(spec.run, map(wf.name, there))
        try:
            cluster.workflows.create(cluster.namespace, named(manifest, name))
        except Exists:  # somebody else was first
            there = workflows_of(cluster, spec.run)
            continue
        return _created(spec, cluster, name, created=True)
    raise BadInput(
        f"Workflow {name} is there and is no run {spec.run} ({RUN_LABEL}): remove it, or choose another --run."
    )


def _running(spec: RunSpec, cluster: Cluster, there: list[Json]) -> Created | None:
    """A run is one experiment; a name given by hand must not join two while one of them runs."""
    workflow = next((workflow for workflow in there if wf.live(workflow)), None)
    if workflow is None:
        return None
    if RunSpec.of_workflow(workflow).on_its_films.hash != spec.on_its_films.hash:
        raise BadInput(
            f"Run {spec.run} is running with another experiment: stop it first (cv.py stop {spec.run}), "
            "or choose another --run."
        )
    return _created(spec, cluster, wf.name(workflow), created=False)


def _created(spec: RunSpec, cluster: Cluster, workflow: str, *, created: bool) -> Created:
    page = cluster.workflows.page(cluster.namespace, workflow)
    if spec.profile.argo_url:
        page = f"{spec.profile.argo_url.rstrip('/')}/workflows/{cluster.namespace}/{workflow}"
    selector = f"-n {cluster.namespace} -l {RUN_LABEL}={spec.run}"
    logs = f"kubectl logs {selector} -c main --prefix -f --max-log-requests 100"  # it follows five pods by itself
    return Created(spec.run, workflow, cluster.namespace, created, page, logs)
