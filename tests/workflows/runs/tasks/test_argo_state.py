import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.contract.names import Stage
from jobs.contract.plan import PlannedTask, plan
from jobs.contract.task import TaskId
from workflows.board.rows import Row
from workflows.cluster import workflow_json
from workflows.manifest.spec import RunSpec
from workflows.runs.run import Run
from workflows.runs.tasks.argo_state import accelerators, row_from_argo, tidy

HERE = Path(__file__).parents[1]
NOW = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
# As Argo 3.7 left them on a real cluster: one with every kind of failure, one stopped while it waited for GPUs.
FAILED: dict[str, Any] = json.loads((HERE / "argo_failed.json").read_text())
STOPPED: dict[str, Any] = json.loads((HERE / "argo_stopped.json").read_text())


def rows_of(workflow: dict[str, Any]) -> dict[str, Row]:
    nodes = workflow_json.tasks(workflow)
    tasks = plan(RunSpec.of_workflow(workflow).experiment)
    return {
        task.name: row_from_argo(task, nodes.get(task.id.former_name), None, live=workflow_json.live(workflow), now=NOW)
        for task in tasks
    }


def running(**node: Any) -> dict[str, Any]:
    """The failed workflow as it might have been while its first fold ran."""
    workflow: dict[str, Any] = json.loads(json.dumps(FAILED))
    workflow["status"]["phase"] = "Running"
    for one in workflow["status"]["nodes"].values():
        if one["displayName"].startswith("train-classifier-tiny-fold-0"):
            one.update(phase="Running", finishedAt=None, startedAt="2026-11-23T18:29:00Z")
            one.update(node if one["type"] == "Pod" else {})
    return workflow


FOLD_0 = PlannedTask(TaskId(Stage.TRAIN_CLASSIFIER, "tiny", 0), (TaskId(Stage.PREPARE),))
BEAT = Row(FOLD_0.name, "running", "training", 1, 3.5, 10, 0.41, 70.0, seconds=55.0, at="2026-11-23T18:29:50+00:00")
LONG_AGO = "2026-11-23T17:00:00+00:00"


def test_each_kind_of_end_has_its_words() -> None:
    rows = rows_of(FAILED)
    assert {name: (row.state, row.attempt, row.note) for name, row in rows.items()} == {
        "prepare": ("succeeded", 1, ""),
        "tiny-fold-0": ("succeeded", 1, ""),
        "tiny-fold-1": ("succeeded", 2, ""),
        "yolo-fold-0": ("failed", 1, "main: Error (exit code 78)"),
        "yolo-fold-1": ("failed", 2, "main: OOMKilled (exit code 137)"),
        "ensemble": ("omitted", 0, "an earlier task did not succeed"),
        "evaluate": ("omitted", 0, "an earlier task did not succeed"),
    }
    assert rows["yolo-fold-1"].node == "node0"


def test_a_stopped_run_tells_who_checkpointed_and_who_never_started() -> None:
    rows = rows_of(STOPPED)
    assert rows["tiny-fold-0"].state == "stopped"
    assert rows["tiny-fold-0"].note == "wrote a checkpoint"
    assert rows["yolo-fold-0"].state == "stopped"
    assert "shutdown" in rows["yolo-fold-0"].note


def test_pods_are_named_as_argo_names_them() -> None:
    attempts = workflow_json.tasks(FAILED)["train-detector-yolo-fold-1"].attempts
    # kubectl showed these two, the second one made by the retry
    assert [node.pod for node in attempts] == ["fake1-1-train-detector-74705385", "fake1-1-train-detector-1752614380"]
    assert attempts[-1].out_of_memory
    assert attempts[-1].memory == "2Gi"


def test_a_running_task_shows_what_its_heartbeat_says() -> None:
    nodes = workflow_json.tasks(running())[FOLD_0.id.former_name]
    row = row_from_argo(FOLD_0, nodes, BEAT, live=True, now=NOW)
    assert (row.state, row.phase, row.epoch, row.epochs, row.best, row.eta) == (
        "running",
        "training",
        3.5,
        10,
        0.41,
        70,
    )


@pytest.mark.parametrize(
    "stale",
    [
        replace(BEAT, attempt=2),
        replace(BEAT, at=LONG_AGO),
        replace(BEAT, at=LONG_AGO, state="succeeded", phase="done"),
    ],
    ids=["of another attempt", "of an earlier workflow", "of an earlier workflow that finished"],
)  # fmt: skip
def test_a_heartbeat_of_something_else_is_not_believed(stale: Row) -> None:
    row = row_from_argo(FOLD_0, workflow_json.tasks(running())[FOLD_0.id.former_name], stale, live=True, now=NOW)
    assert (row.state, row.phase, row.epoch) == ("running", "starting", None)


def test_a_task_that_is_done_is_finishing_until_argo_has_seen_it() -> None:
    done = replace(BEAT, state="succeeded", phase="done", epoch=10.0, note="map4 0.41")
    row = row_from_argo(FOLD_0, workflow_json.tasks(running())[FOLD_0.id.former_name], done, live=True, now=NOW)
    assert (row.state, row.phase, row.note) == ("running", "finishing", "map4 0.41")


def test_the_time_of_all_attempts_counts_whatever_argo_retry_does_to_the_tasks_own_times() -> None:
    nodes = workflow_json.tasks(FAILED)["train-detector-yolo-fold-1"]
    spans = [(one.started, one.finished) for one in nodes.attempts]
    anew = replace(nodes, task=replace(nodes.task, started=nodes.task.finished))
    took = sum((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() for start, end in spans)
    task = PlannedTask(TaskId(Stage.TRAIN_DETECTOR, "yolo", 1), (TaskId(Stage.PREPARE),))
    assert row_from_argo(task, anew, None, live=False, now=NOW).seconds == took > 0


def test_a_failed_task_says_itself_what_went_wrong() -> None:
    task = PlannedTask(TaskId(Stage.TRAIN_DETECTOR, "yolo", 0), (TaskId(Stage.PREPARE),))
    nodes = workflow_json.tasks(FAILED)[task.id.former_name]
    told = Row(task.name, "failed", "failed", 1, note="labels.csv has no column id", at=nodes.task.finished)
    assert row_from_argo(task, nodes, told, live=False, now=NOW).note == "labels.csv has no column id"


def test_a_task_that_was_done_when_its_run_was_stopped_is_done() -> None:
    nodes = workflow_json.tasks(STOPPED)[FOLD_0.id.former_name]
    done = replace(BEAT, state="succeeded", phase="done", note="map4 0.41", at=nodes.task.finished)
    row = row_from_argo(FOLD_0, nodes, done, live=False, now=NOW)
    assert (row.state, row.phase, row.note) == ("succeeded", "done", "map4 0.41")


def test_a_pod_that_has_a_node_is_starting() -> None:
    nodes = workflow_json.tasks(running(phase="Pending", message="PodInitializing"))[FOLD_0.id.former_name]
    row = row_from_argo(FOLD_0, nodes, None, live=True, now=NOW)
    assert (row.state, row.phase) == ("running", "starting")


def test_a_pending_pod_waits_in_the_schedulers_words() -> None:
    message = (
        "Unschedulable: 0/3 nodes are available: 1 node(s) had untolerated taint {dedicated: infra}, "
        "2 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/3 nodes are available: "
        "3 No preemption victims found for incoming pod."
    )
    nodes = workflow_json.tasks(running(phase="Pending", message=message))[FOLD_0.id.former_name]
    row = row_from_argo(FOLD_0, nodes, None, live=True, now=NOW)
    assert (row.state, row.phase) == ("waiting", "queued")
    assert row.note == "1 node(s) had untolerated taint {dedicated: infra}, 2 Insufficient nvidia.com/gpu"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("", ""),
        ("ImagePullBackOff: Back-off pulling image", "ImagePullBackOff: Back-off pulling image"),
        ("Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", "1 Insufficient nvidia.com/gpu"),
    ],
)
def test_other_messages_stay_as_they_are(message: str, words: str) -> None:
    assert tidy(message) == words


def test_who_has_the_gpus() -> None:
    nodes = [{"status": {"allocatable": {"nvidia.com/gpu": "4"}}}, {"status": {"allocatable": {"cpu": "8"}}}]

    def pod(run: str | None, gpus: int, phase: str = "Running", node: str | None = "node0") -> dict[str, Any]:
        container = {"resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
        labels = {"cxrfold/run": run} if run else {}
        return {"metadata": {"labels": labels}, "spec": {"nodeName": node, "containers": [{}, container]},
                "status": {"phase": phase}}  # fmt: skip

    pods = [pod("a", 1), pod("a", 2), pod(None, 1), pod("b", 4, "Succeeded"), pod("c", 1, "Pending", node=None)]
    words = accelerators(nodes, pods, "nvidia.com/gpu", "cxrfold/run")
    assert words == "4 GPUs, 1 taken by others, 3 taken by run a"
    assert accelerators(nodes, [], "nvidia.com/gpu", "cxrfold/run") == "4 GPUs, none taken"


def test_a_task_argo_has_not_come_to_waits_for_those_before_it() -> None:
    row = row_from_argo(FOLD_0, None, None, live=True, now=NOW)
    assert (row.state, row.note) == ("waiting", "for prepare")
    assert row_from_argo(FOLD_0, None, None, live=False, now=NOW).state == "omitted"


def test_the_workflow_that_counts_is_the_living_one() -> None:
    living = {"metadata": {"name": "old", "creationTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Running"}}
    assert workflow_json.current([FAILED, living]) is living
    assert workflow_json.current([STOPPED, FAILED]) is STOPPED
    retried = FAILED | {"status": FAILED["status"] | {"finishedAt": "2026-12-01T00:00:00Z"}}
    assert workflow_json.current([STOPPED, retried]) is retried
    assert workflow_json.current([]) is None


def test_a_task_whose_end_argo_did_not_wait_for_tells_itself_that_it_wrote_a_checkpoint() -> None:
    nodes = workflow_json.tasks(STOPPED)[FOLD_0.id.former_name]
    [attempt] = nodes.attempts
    unseen = replace(
        nodes, attempts=(replace(attempt, exit_code="", message="workflow shutdown with strategy:  Stop"),)
    )
    said = replace(BEAT, state="stopped", phase="stopped", note="asked to stop", at=attempt.finished)
    assert row_from_argo(FOLD_0, unseen, said, live=False, now=NOW).note == "wrote a checkpoint"
    assert "shutdown" in row_from_argo(FOLD_0, unseen, None, live=False, now=NOW).note


def test_pods_whose_stage_still_works_are_counted() -> None:
    def pod(main: str, wait: str) -> dict[str, Any]:
        containers = [{"name": "main", "state": {main: {}}}, {"name": "wait", "state": {wait: {}}}]
        return {"status": {"containerStatuses": containers}}

    pods = [pod("running", "terminated"), pod("terminated", "running"), {"status": {}}]
    kubernetes = SimpleNamespace(pods=lambda namespace, labels: pods)
    run = Run("r", SimpleNamespace(kubernetes=kubernetes, namespace="n"), None, [])
    assert run.running_pods() == 1
    assert Run("r", None, None, []).running_pods() == 0
