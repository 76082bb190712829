import threading

import pytest

from jobs.contract.exits import BadInput
from jobs.contract.profile import Profile
from tests.workflows.fake_cluster import FakeCluster
from workflows.cluster.client import Cluster
from workflows.cluster.http import Json
from workflows.manifest import dag
from workflows.manifest.spec import RunSpec
from workflows.runs.create import create, replaced, running
from workflows.settings.files import load_experiment


@pytest.fixture
def cluster(fake: FakeCluster) -> Cluster:
    return Cluster.connect(Profile())


@pytest.fixture(scope="module")
def manifest(demo: RunSpec) -> Json:
    return dag.manifest(demo)


def test_the_same_run_twice_continues_the_running_workflow(
    demo: RunSpec, manifest: Json, cluster: Cluster, fake: FakeCluster
) -> None:
    assert running(demo, cluster) is None
    first, second = create(demo, cluster, manifest), create(demo, cluster, manifest)
    assert (first.created, second.created) == (True, False)
    assert first.workflow == second.workflow == "demo-1-1"
    assert running(demo, cluster) == second
    assert list(fake.workflows) == ["demo-1-1"]


def test_of_many_who_submit_at_the_same_time_one_creates_the_workflow(
    demo: RunSpec, manifest: Json, cluster: Cluster, fake: FakeCluster
) -> None:
    together, results = threading.Barrier(6), []

    def go() -> None:
        together.wait()
        results.append(create(demo, cluster, manifest))

    threads = [threading.Thread(target=go) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.created for result in results) == [False] * 5 + [True]
    assert list(fake.workflows) == ["demo-1-1"]


def test_a_run_that_ended_gets_a_new_workflow(
    demo: RunSpec, manifest: Json, cluster: Cluster, fake: FakeCluster
) -> None:
    create(demo, cluster, manifest)
    fake.workflows["demo-1-1"]["status"]["phase"] = "Failed"
    again = create(demo, cluster, manifest)
    assert (again.created, again.workflow) == (True, "demo-1-2")


def test_another_experiment_under_the_name_of_a_running_one_is_refused(
    demo: RunSpec, manifest: Json, cluster: Cluster
) -> None:
    create(demo, cluster, manifest)
    other = demo.model_copy(update={"experiment": load_experiment("demo", ["seed=7"])})
    with pytest.raises(BadInput, match="another experiment: stop it first"):
        create(other, cluster, dag.manifest(other))


def test_the_name_of_an_ended_run_is_not_taken_for_another_experiment_by_accident(
    demo: RunSpec, manifest: Json, cluster: Cluster, fake: FakeCluster
) -> None:
    create(demo, cluster, manifest)
    fake.workflows["demo-1-1"]["status"]["phase"] = "Succeeded"
    assert replaced(demo, cluster) is None
    other = demo.model_copy(update={"experiment": load_experiment("demo", ["seed=7"])})
    assert replaced(other, cluster) == "Run demo-1 exists with another experiment (demo, workflow demo-1-1)."


def test_a_foreign_workflow_of_the_same_name_is_refused(
    demo: RunSpec, manifest: Json, cluster: Cluster, fake: FakeCluster
) -> None:
    fake.workflows["demo-1-1"] = {"metadata": {"name": "demo-1-1"}, "spec": {}}
    with pytest.raises(BadInput, match="remove it, or choose another --run"):
        create(demo, cluster, manifest)
