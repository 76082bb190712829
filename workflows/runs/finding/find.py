"""Find a run by name: in the cluster while its workflow exists, in the store afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from jobs.contract.exits import BadInput, StageError
from jobs.contract.names import RUN_LABEL, check_run_name
from jobs.contract.profile import Profile
from jobs.contract.stored import layout
from workflows.cluster import workflow_json
from workflows.cluster.client import Cluster
from workflows.cluster.http import NotThere
from workflows.runs.run import Run, workflows_of
from workflows.store.opening import local_store


@contextmanager
def find_run(name: str | None, profile: Profile | None = None) -> Iterator[Run]:
    """Find a run by name, in the cluster or in the store.

    Without a profile, a run that is not in the current namespace is looked for in all others, and in the one that its
    stored order names.

    Args:
        name: the run's name; None for the newest run of the namespace.
        profile: the cluster and store to look in. Without a profile and a configured store, a run that the cluster
            does not have is read from this machine's embedded store.

    Raises:
        BadInput: the name is not valid, or missing while the cluster has no run; the run is neither in the cluster nor
            in the store.
        ServiceAway: the cluster does not answer and the store does not have the run.
    """
    if name is not None:
        check_run_name(name)
    run = _on_cluster(name, profile)
    if run.workflows:
        yield run
        return
    with nullcontext() if profile else local_store():
        try:
            is_stored = run.store.size(layout.run_experiment(run.name)) is not None
        except StageError:
            if run.unreachable:
                raise run.unreachable from None  # the first of two problems
            raise
        if not is_stored and run.unreachable:
            raise run.unreachable
        if is_stored and run.cluster and not profile:
            yield _where_it_was_ordered(run, run.cluster)
        else:
            yield run


def _on_cluster(name: str | None, profile: Profile | None) -> Run:
    """The run with its workflows on the cluster, or with the reason why there are none."""
    cluster = None
    try:
        cluster = Cluster.connect(profile)
        if name is None:
            newest = workflow_json.current(cluster.workflows.list(cluster.namespace, RUN_LABEL))
            if newest is None:
                raise BadInput(f"Name a run: namespace {cluster.namespace} has none. cv.py runs lists all runs.")
            name = str(newest["metadata"]["labels"][RUN_LABEL])
        if workflows := workflows_of(cluster, name):
            return Run(name, cluster, profile, workflows)
        if profile is None and (found := _elsewhere(cluster, name)):
            return found
    except StageError as error:
        if name is None:
            raise
        return Run(name, cluster, profile, [], error)
    absence = NotThere(f"Namespace {cluster.namespace} has no workflow of run {name}.")
    return Run(name, cluster, profile, [], absence)


def _elsewhere(cluster: Cluster, name: str) -> Run | None:
    """The run in another namespace, if the user may look there.

    Raises:
        BadInput: several namespaces have such a run.
    """
    try:
        workflows = cluster.workflows.list(None, f"{RUN_LABEL}={name}")
    except StageError:
        return None
    namespaces = sorted({str(workflow["metadata"].get("namespace")) for workflow in workflows})
    if len(namespaces) > 1:
        raise BadInput(
            f"Run {name} is in the namespaces {', '.join(namespaces)}: set ARGO_NAMESPACE, or choose one in the "
            "kubeconfig."
        )
    return Run(name, cluster.in_namespace(namespaces[0]), None, workflows) if workflows else None


def _where_it_was_ordered(run: Run, cluster: Cluster) -> Run:
    """The run with its workflows in the namespace that its stored order names; the run itself if there are none."""
    try:
        place = run.spec.profile.namespace if run.spec else cluster.namespace
        there = cluster.in_namespace(place)
        workflows = workflows_of(there, run.name) if place != cluster.namespace else []
    except StageError:
        return run
    return Run(run.name, there, None, workflows) if workflows else run
