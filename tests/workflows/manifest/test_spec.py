import json
from pathlib import Path
from typing import Any

import pytest

from jobs.contract import environment
from jobs.contract.exits import BadInput
from jobs.contract.names import Stage
from jobs.contract.profile import Profile
from jobs.contract.stored import layout
from jobs.contract.task import TaskId
from jobs.runtime.store import Missing, Store
from workflows.manifest.dag import manifest
from workflows.manifest.spec import ORDER_ANNOTATION, RunSpec, TestSet, default_run, workflow_name
from workflows.settings.files import load_experiment

FORMER: dict[str, Any] = json.loads((Path(__file__).parents[1] / "runs" / "argo_failed.json").read_text())
BAD_NAMES = ["", "Demo", "-demo", "demo-", "a" * 54, "de_mo", "demo/1", "../x", "a{{x}}", "{{workflow.name}}", "demo\n"]


def test_a_spec_is_read_back_from_its_workflow(demo: RunSpec) -> None:
    spec = demo.model_copy(
        update={"memory": {"tiny-fold-0": "32Gi"}, "test_set": TestSet(source="s3://films/test", from_run="demo-1")}
    )
    workflow = manifest(spec)
    read = RunSpec.of_workflow({**workflow, "metadata": {**workflow["metadata"], "name": "demo-1-1"}})
    assert read.experiment.data.source == "s3://films/test"
    assert read.model_copy(update={"experiment": demo.experiment}) == spec
    assert manifest(read) == workflow


def test_a_stored_spec_is_read_back_from_what_prepare_is_given(demo: RunSpec, s3_store: Store) -> None:
    prepare = next(item for item in manifest(demo)["spec"]["templates"] if item["name"] == "prepare")
    variables = {item["name"]: item.get("value") for item in prepare["container"]["env"]}
    s3_store.put(layout.run_order("demo-1"), variables[environment.ORDER].encode())
    s3_store.put(layout.run_experiment("demo-1"), demo.experiment.model_dump_json().encode())
    assert RunSpec.stored(s3_store, "demo-1") == demo


def test_a_workflow_of_release_0_1_is_read() -> None:
    spec = RunSpec.of_workflow(FORMER)
    assert (spec.run, spec.revision, spec.test_set) == ("fake1", "v1", None)
    assert spec.experiment.folds.selected == (0, 1)


def test_an_order_of_release_0_1_names_its_test_set_predict() -> None:
    order = json.loads(FORMER["metadata"]["annotations"]["cxrfold/submission"])
    order["predict"] = {"source": "s3://films/test", "from_run": "demo-1"}
    workflow = {**FORMER, "metadata": {"name": "p-1", "annotations": {"cxrfold/submission": json.dumps(order)}}}
    spec = RunSpec.of_workflow(workflow)
    assert spec.test_set == TestSet(source="s3://films/test", from_run="demo-1")
    assert [task.name for task in spec.tasks][1] == "tiny-fold-0"
    assert spec.tasks[1].id.stage is Stage.PREDICT


def test_an_order_that_release_0_1_stored_is_read(s3_store: Store) -> None:
    order = json.loads(FORMER["metadata"]["annotations"]["cxrfold/submission"])
    experiment = FORMER["spec"]["arguments"]["parameters"][0]["value"]
    s3_store.put(layout.run_experiment("fake1"), experiment.encode())
    with pytest.raises(Missing):
        RunSpec.stored(s3_store, "fake1")
    s3_store.put_json("runs/fake1/submission.json", order)
    assert RunSpec.stored(s3_store, "fake1") == RunSpec.of_workflow(FORMER)


def test_memory_by_the_task_names_of_release_0_1_is_found(demo: RunSpec) -> None:
    task = TaskId(Stage.TRAIN_CLASSIFIER, "tiny", 0)
    former = demo.model_copy(update={"memory": {"train-classifier-tiny-fold-0": "5Gi"}})
    assert former.memory_of(task) == "5Gi"
    both = demo.model_copy(update={"memory": {"train-classifier-tiny-fold-0": "5Gi", "tiny-fold-0": "9Gi"}})
    assert both.memory_of(task) == "9Gi"
    assert demo.memory_of(task) is None


@pytest.mark.parametrize(
    "annotations", [{}, {ORDER_ANNOTATION: "no JSON"}, {ORDER_ANNOTATION: '{"run": "x", "colour": 1}'}],
    ids=["without an order", "not JSON", "unknown key"],
)  # fmt: skip
def test_a_foreign_workflow_is_refused_by_name(annotations: dict[str, str]) -> None:
    workflow = {"metadata": {"name": "theirs", "annotations": annotations}, "spec": FORMER["spec"]}
    with pytest.raises(BadInput, match=r"(?s)Workflow theirs .* Submit the run again\."):
        RunSpec.of_workflow(workflow)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_kubernetes_or_s3_would_refuse_is_refused(name: str) -> None:
    experiment = load_experiment("demo")
    with pytest.raises(BadInput) as refused:
        RunSpec.of(experiment, Profile(), revision="v1", run=name)
    with pytest.raises(BadInput) as refused_too:
        TestSet(source="s3://films", from_run=name)
    assert str(refused.value) == str(refused_too.value)
    assert str(refused.value).startswith(f"{name!r} cannot name a run: use 1 to 53 of a-z, 0-9 and -")


def test_the_default_name_follows_experiment_and_test_set() -> None:
    experiment = load_experiment("demo")
    name = default_run(experiment)
    assert name == experiment.default_run
    assert default_run(load_experiment("demo", ["seed=7"])) != name
    one, other = (TestSet(source=f"s3://films/{number}", from_run=name) for number in range(2))
    assert default_run(experiment, one).startswith(f"{name}-on-")
    assert default_run(experiment, one) != default_run(experiment, other)
    assert default_run(load_experiment("demo", folds=[0]), one) != default_run(experiment, one)
    longest = TestSet(source="s3://films", from_run="a" * 53)
    assert len(default_run(experiment, longest)) == 53


def test_workflows_of_a_run_are_numbered() -> None:
    assert workflow_name("demo", []) == "demo-1"
    assert workflow_name("demo", ["demo-1", "demo-9", "demo-x", "demo-1-12"]) == "demo-10"
