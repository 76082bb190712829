import json

import pytest

from jobs.contract.exits import BadInput
from tests.workflows.fake_cluster import FakeCluster
from workflows.manifest.dag import manifest
from workflows.runs.resubmission import raised_memory, resubmission
from workflows.runs.run import Run


def test_resume_raises_the_memory_of_tasks_that_the_oom_killer_ended_and_of_no_other(run: Run) -> None:
    spec, remarks = resubmission(run)
    assert spec.memory == {"yolo-fold-1": "3Gi"}
    assert remarks == ["yolo-fold-1 ran out of memory at 2Gi: its memory is now 3Gi."]
    assert spec.revision == "v1"


def test_memory_that_release_0_1_raised_stays_raised(run: Run, failed: FakeCluster) -> None:
    annotations = failed.workflows["fake1-1"]["metadata"]["annotations"]
    order = json.loads(annotations["cxrfold/submission"])
    annotations["cxrfold/submission"] = json.dumps({**order, "memory": {"train-classifier-tiny-fold-0": "5Gi"}})
    run.refresh()
    spec, _ = resubmission(run)
    entry = spec.memory_of(spec.tasks[1].id), manifest(spec)["spec"]["templates"]
    assert entry[0] == "5Gi"
    assert "train-classifier-5gi" in [template["name"] for template in entry[1]]


def test_a_running_run_is_not_resumed(run: Run, failed: FakeCluster) -> None:
    failed.workflows["fake1-1"]["status"]["phase"] = "Running"
    run.refresh()
    with pytest.raises(BadInput, match="is running"):
        resubmission(run)


def test_memory_is_doubled_up_to_the_cap() -> None:
    memory, remarks = raised_memory([("a", "16Gi"), ("b", "48Gi"), ("c", "64Gi"), ("d", "1500Mi")], "64Gi")
    assert memory == {"a": "32Gi", "b": "64Gi", "d": "3000Mi"}
    assert remarks[0] == "a ran out of memory at 16Gi: its memory is now 32Gi."
    assert "memory_cap" in remarks[2]
