"""Create a run's workflow on the cluster, unless one is running."""

from dataclasses import dataclass

from jobs.contract.exits import BadInput
from jobs.contract.names import RUN_LABEL
from workflows.cluster import workflow_json
from workflows.cluster.client import Cluster
from workflows.cluster.http import Exists, Json
from workflows.manifest.spec import RunSpec, named, workflow_name
from workflows.runs.run import workflows_of

ATTEMPTS = 5  # to find a free name while others submit the same run


@dataclass(frozen=True)
class CreatedWorkflow:
    """The workflow of a submitted run, as ``submit --json`` prints it."""

    run: str
    workflow: str
    namespace: str
    created: bool  # False: a workflow of the run was already running
    page: str | None
    logs: str

    def lines(self) -> list[str]:
        """The text that ``submit`` prints."""
        first = f"Run {self.run} {'is submitted' if self.created else 'is running already'}: workflow {self.workflow}."
        return [first, *([f"Argo  {self.page}"] if self.page else []), f"Logs  {self.logs}"]


def running(spec: RunSpec, cluster: Cluster) -> CreatedWorkflow | None:
    """Return the run's running workflow, None if there is none.

    Raises:
        BadInput: a workflow with another experiment runs under this name.
    """
    return _running(spec, cluster, workflows_of(cluster, spec.run))


def replaced(spec: RunSpec, cluster: Cluster) -> str | None:
    """A sentence if an ended run of this name had another experiment, whose results the new one would replace."""
    for workflow in workflows_of(cluster, spec.run):
        try:
            former = RunSpec.of_workflow(workflow)
        except BadInput:
            continue  # made by hand, or by another version: it cannot be compared
        if former.on_its_films.hash != spec.on_its_films.hash:
            name = workflow_json.name(workflow)
            return f"Run {spec.run} exists with another experiment ({former.experiment.name}, workflow {name})."
    return None


def create(spec: RunSpec, cluster: Cluster, manifest: Json) -> CreatedWorkflow:
    """Create the run's workflow unless one is running.

    Args:
        spec: the run.
        cluster: the cluster to create the workflow on.
        manifest: the workflow, built from ``spec``.

    Raises:
        BadInput: another experiment runs under this name, or the cluster refuses the workflow.
    """
    workflows = workflows_of(cluster, spec.run)
    for _ in range(ATTEMPTS):
        if existing := _running(spec, cluster, workflows):
            return existing
        name = workflow_name(spec.run, map(workflow_json.name, workflows))
        try:
            cluster.workflows.create(cluster.namespace, named(manifest, name))
        except Exists:  # another process was first
            workflows = workflows_of(cluster, spec.run)
            continue
        return _created(spec, cluster, name, created=True)
    raise BadInput(
        f"Workflow {name} exists without the label {RUN_LABEL}={spec.run}: remove it, or choose another --run."
    )


def _running(spec: RunSpec, cluster: Cluster, workflows: list[Json]) -> CreatedWorkflow | None:
    """The running workflow. A run has one experiment: refuse another one under the same name."""
    workflow = next((workflow for workflow in workflows if workflow_json.live(workflow)), None)
    if workflow is None:
        return None
    if RunSpec.of_workflow(workflow).on_its_films.hash != spec.on_its_films.hash:
        raise BadInput(
            f"Run {spec.run} is running with another experiment: stop it first (cv.py stop {spec.run}), "
            "or choose another --run."
        )
    return _created(spec, cluster, workflow_json.name(workflow), created=False)


def _created(spec: RunSpec, cluster: Cluster, workflow: str, *, created: bool) -> CreatedWorkflow:
    page = cluster.workflows.page(cluster.namespace, workflow)
    if spec.profile.argo_url:
        page = f"{spec.profile.argo_url.rstrip('/')}/workflows/{cluster.namespace}/{workflow}"
    selector = f"-n {cluster.namespace} -l {RUN_LABEL}={spec.run}"
    pods = len(spec.tasks) * (spec.profile.retry.limit + 1)  # at most; kubectl refuses to follow more than it is told
    logs = f"kubectl logs {selector} -c main --prefix -f --max-log-requests {pods}"
    return CreatedWorkflow(spec.run, workflow, cluster.namespace, created, page, logs)
