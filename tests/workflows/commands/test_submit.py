import threading
from collections.abc import Iterator

import pytest

from jobs.contract import environment, layout
from jobs.contract.exits import BadInput
from jobs.contract.plan import Predict
from jobs.contract.profile import Profile
from jobs.runtime.store import Store
from tests.workflows.fake_cluster import FakeCluster, fake_cluster
from workflows.cluster.client import Cluster
from workflows.cluster.http import Json
from workflows.commands.resume import raised
from workflows.commands.submit import submit
from workflows.manifest.spec import Submission, check_run_name, workflow_name
from workflows.settings.files import load_experiment


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    with fake_cluster() as server:
        monkeypatch.setenv("ARGO_SERVER", server.address)
        monkeypatch.setenv("ARGO_SECURE", "false")
        monkeypatch.setenv("KUBECONFIG", "/none")
        yield server


@pytest.fixture
def cluster(fake: FakeCluster) -> Cluster:
    return Cluster.connect(Profile())


@pytest.fixture(scope="session")
def demo() -> Submission:
    return Submission(run="demo-1", experiment=load_experiment("demo"), profile=Profile(), revision="v1")


@pytest.fixture(scope="session")
def manifest(demo: Submission) -> Json:
    return demo.manifest()


def test_what_was_submitted_is_read_back_from_the_workflow(demo: Submission) -> None:
    submission = demo.model_copy(
        update={"memory": {"train-classifier-tiny-fold-0": "32Gi"}, "predict": Predict("s3://films/test", "demo-1")}
    )
    manifest = submission.manifest()
    read = Submission.of({**manifest, "metadata": {**manifest["metadata"], "name": "demo-1-1"}})
    assert read.experiment.data.source == "s3://films/test"
    assert read.model_copy(update={"experiment": demo.experiment}) == submission


def test_prepare_is_given_the_submission_to_store_and_nothing_else_is(manifest: Json) -> None:
    having = [
        template["name"]
        for template in manifest["spec"]["templates"]
        if any(item["name"] == environment.SUBMISSION for item in template.get("container", {}).get("env", ()))
    ]
    assert having == ["prepare"]


def test_a_run_whose_workflow_is_gone_is_read_from_its_store(demo: Submission, manifest: Json, s3_store: Store) -> None:
    first = next(template for template in manifest["spec"]["templates"] if template["name"] == "prepare")
    given = {item["name"]: item.get("value") for item in first["container"]["env"]}
    s3_store.put(layout.run_submission("demo-1"), given[environment.SUBMISSION].encode())
    s3_store.put(layout.run_experiment("demo-1"), demo.experiment.model_dump_json().encode())
    assert Submission.stored(s3_store, "demo-1") == demo


def test_the_same_run_twice_goes_on_with_the_one_that_runs(
    demo: Submission, manifest: Json, cluster: Cluster, fake: FakeCluster
) -> None:
    first, second = submit(demo, cluster, manifest), submit(demo, cluster, manifest)
    assert (first.created, second.created) == (True, False)
    assert first.workflow == second.workflow == "demo-1-1"
    assert list(fake.workflows) == ["demo-1-1"]


def test_of_many_who_submit_at_the_same_time_one_creates_the_workflow(
    demo: Submission, manifest: Json, cluster: Cluster, fake: FakeCluster
) -> None:
    together, results = threading.Barrier(6), []

    def go() -> None:
        together.wait()
        results.append(submit(demo, cluster, manifest))

    threads = [threading.Thread(target=go) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.created for result in results) == [False] * 5 + [True]
    assert list(fake.workflows) == ["demo-1-1"]


def test_a_run_that_ended_gets_a_new_workflow(
    demo: Submission, manifest: Json, cluster: Cluster, fake: FakeCluster
) -> None:
    submit(demo, cluster, manifest)
    fake.workflows["demo-1-1"]["status"]["phase"] = "Failed"
    again = submit(demo, cluster, manifest)
    assert (again.created, again.workflow) == (True, "demo-1-2")


def test_another_experiment_under_the_name_of_a_running_one_is_refused(
    demo: Submission, manifest: Json, cluster: Cluster
) -> None:
    submit(demo, cluster, manifest)
    other = demo.model_copy(update={"experiment": load_experiment("demo", ["seed=7"])})
    with pytest.raises(BadInput, match="another experiment: stop it first"):
        submit(other, cluster, other.manifest())


def test_a_foreign_workflow_under_our_name_ends_in_a_sentence(
    demo: Submission, manifest: Json, cluster: Cluster, fake: FakeCluster
) -> None:
    fake.workflows["demo-1-1"] = {"metadata": {"name": "demo-1-1"}, "spec": {}}
    with pytest.raises(BadInput, match="remove it, or choose another --run"):
        submit(demo, cluster, manifest)


def test_names_of_workflows_are_counted_on() -> None:
    assert workflow_name("demo", []) == "demo-1"
    assert workflow_name("demo", ["demo-1", "demo-9", "demo-x", "demo-1-12"]) == "demo-10"


@pytest.mark.parametrize("name", ["", "Demo", "-demo", "demo-", "a" * 54, "de_mo", "demo/1"])
def test_a_name_that_kubernetes_would_refuse_is_refused_first(name: str) -> None:
    with pytest.raises(BadInput, match="53"):
        check_run_name(name)


def test_memory_is_doubled_up_to_the_cap_and_said() -> None:
    memory, said = raised([("a", "16Gi"), ("b", "48Gi"), ("c", "64Gi"), ("d", "1500Mi")], "64Gi")
    assert memory == {"a": "32Gi", "b": "64Gi", "d": "3000Mi"}
    assert said[0] == "a ran out of memory at 16Gi: it gets 32Gi."
    assert "memory_cap" in said[2]
