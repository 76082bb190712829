"""Runs where something is refused, silent, deleted, suspended or there several times."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.contract.exits import TABLE, BadInput, Exit, ServiceAway
from jobs.contract.names import Stage
from jobs.contract.plan import PlannedTask
from jobs.contract.stored import layout
from jobs.contract.task import TaskId
from jobs.runtime.store import Store
from tests.workflows.fake_cluster import FakeCluster
from workflows.board.rows import Row
from workflows.cluster import http, workflow_json
from workflows.cluster.workflow_json import NodeStatus, TaskNodes
from workflows.manifest.spec import RunSpec, kept_profile
from workflows.runs import run as runs
from workflows.runs import stopping
from workflows.runs.explanation import explain
from workflows.runs.finding.find import find_run
from workflows.runs.finding.listing import listing
from workflows.runs.logs import reading
from workflows.runs.logs.reading import TaskFilter, file_of
from workflows.runs.purge import plan_purge
from workflows.runs.resubmission import continue_suspended
from workflows.runs.stored import LogFile
from workflows.runs.tasks.argo_state import row_from_argo
from workflows.runs.tasks.ended_attempts import alike

NODES, EVENTS, PODS = "/api/v1/nodes", "/events", "/pods"
QUEUED = "Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu."


@pytest.fixture
def direct(failed: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """The cluster with the failed run, reached through Kubernetes by somebody with few rights."""
    config = {
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "namespace": "films"}}],
        "clusters": [{"name": "k", "cluster": {"server": f"http://{failed.address}"}}],
    }  # fmt: skip
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("ARGO_SERVER")
    monkeypatch.setattr(http, "PAUSES", ())
    monkeypatch.setattr(stopping, "POLL_SECONDS", 0.01)
    failed.forbidden = (NODES, EVENTS, PODS)
    return failed


def alive(fake: FakeCluster, name: str = "fake1-1", **node: Any) -> dict[str, Any]:
    """A workflow of the failed run as if it were running, with changes to the pods of its first fold."""
    workflow: dict[str, Any] = json.loads(json.dumps(fake.workflows["fake1-1"]))
    workflow["metadata"]["name"] = name
    workflow["status"]["phase"] = "Running"
    for one in workflow["status"]["nodes"].values():
        if node and one["displayName"].startswith("train-classifier-tiny-fold-0"):
            one.update(node if one["type"] == "Pod" else {"phase": "Running", "finishedAt": None})
    fake.workflows[name] = workflow
    return workflow


def test_a_refused_look_up_leaves_its_note_out_and_says_so_once(direct: FakeCluster) -> None:
    alive(direct, phase="Pending", message=QUEUED, finishedAt=None)
    with find_run("fake1") as run:
        for _ in range(3):
            rows = {row.task: row for row in run.status()}
        assert rows["tiny-fold-0"].note == "1 Insufficient nvidia.com/gpu"
        assert sum(note.startswith("Who uses the GPUs is not shown") for note in run.notes) == 1
        assert len([path for _, path, _ in direct.requests if path.startswith(NODES)]) == 1
        assert "tiny-fold-0" in [one.task for one in explain(run, TaskFilter())]
        assert any(note.startswith("What Kubernetes says of the pods is not shown") for note in run.notes)


def test_stop_needs_no_list_of_pods(direct: FakeCluster) -> None:
    alive(direct)
    said: list[str] = []
    with find_run("fake1") as run:
        stopping.stop(run, said.append)
    assert said[1].startswith("Whether pods still write a checkpoint is not shown: Kubernetes denies access")
    assert said[2:] == ["Stopped. cv.py resume fake1 continues from the checkpoints."]


def test_every_live_workflow_of_a_run_is_stopped_and_named(direct: FakeCluster) -> None:
    alive(direct, "fake1-1-abc")["status"]["nodes"] = {}
    alive(direct)
    said: list[str] = []
    with find_run("fake1") as run:
        assert run.workflow
        assert workflow_json.name(run.workflow) == "fake1-1"
        assert "2 workflows of this run are running at once: fake1-1, fake1-1-abc" in run.note
        stopping.stop(run, said.append)
    assert {item["spec"]["shutdown"] for item in direct.workflows.values()} == {"Stop"}
    assert said[0].startswith("2 workflows, fake1-1, fake1-1-abc, are stopping")


def test_a_suspended_run_is_shown_as_such_and_resumed(direct: FakeCluster) -> None:
    alive(direct)["spec"]["suspend"] = True
    with find_run("fake1") as run:
        assert run.phase == "Suspended"
        assert "Workflow fake1-1 is suspended: no further pod starts. cv.py resume fake1 continues it." in run.notes
        assert continue_suspended(run) == ["fake1-1"]
    assert "suspend" not in direct.workflows["fake1-1"]["spec"]


def test_a_cut_keeps_the_last_state_with_a_note_until_the_cluster_answers(
    direct: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive(direct)
    with find_run("fake1") as run:
        for mood in ([503], [0], [401]):
            direct.answers = mood
            run.refresh()
            assert run.live
            assert "The last known state is shown; still trying." in run.note
        run.refresh()
        assert "Kubernetes answers again, after 0s." in run.note
        monkeypatch.setattr(runs, "PATIENCE_SECONDS", 0.0)
        direct.answers = [503, 503]
        run.refresh()
        with pytest.raises(ServiceAway, match="503"):
            run.refresh()


def test_a_deleted_workflow_is_said_to_be_deleted(direct: FakeCluster) -> None:
    alive(direct)
    with find_run("fake1") as run:
        direct.workflows.clear()
        run.refresh()
        assert run.deleted
        assert "Workflow fake1-1 was deleted from namespace films" in run.note


@pytest.fixture
def stored(s3_store: Store, direct: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store that has the failed run, which the cluster has no longer."""
    spec = RunSpec.of_workflow(direct.workflows.pop("fake1-1"))
    s3_store.put(layout.run_experiment("fake1"), spec.experiment.model_dump_json().encode())
    order = json.loads(spec.kept) | {"profile": {"namespace": "ordered"}}
    s3_store.put_json(layout.run_order("fake1"), order)
    monkeypatch.setattr(runs, "open_store", lambda settings: s3_store)
    monkeypatch.setattr("workflows.runs.finding.listing.open_store", lambda settings: s3_store)
    return s3_store


def not_there(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster answers."""


def silent(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.answers = [503] * 20


def missing_file(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/gone/config")


@pytest.mark.parametrize(
    ("absent", "says", "stop"),
    [
        (not_there, "Namespace films has no workflow of run fake1.", "is stopped with Ctrl-C"),
        (silent, "does not answer: 503 moody", "Nothing was stopped."),
        (missing_file, "No cluster is configured (KUBECONFIG names /gone/config, which does not exist)", "Ctrl-C"),
    ],
)
def test_three_absences_are_three_sentences(
    absent: Callable[[FakeCluster, pytest.MonkeyPatch], None], says: str, stop: str, stored: Store,
    direct: FakeCluster, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    absent(direct, monkeypatch)
    with find_run("fake1") as run:
        assert {row.state for row in run.status()} == {"waiting" if absent is silent else "omitted"}  # of the store
        assert says in run.note
        with pytest.raises((BadInput, ServiceAway), match=stop) as error:
            stopping.stop(run, print)
        assert says in str(error.value)


def test_a_run_is_not_purged_while_the_cluster_is_silent(stored: Store, direct: FakeCluster) -> None:
    silent(direct, pytest.MonkeyPatch())
    with find_run("fake1") as run, pytest.raises(ServiceAway, match="503"):
        plan_purge(run)


def test_a_run_elsewhere_is_found_in_all_namespaces_or_in_the_one_that_its_order_names(
    stored: Store, direct: FakeCluster, failed: FakeCluster
) -> None:
    workflow = json.loads((Path(__file__).parent / "argo_failed.json").read_text())
    workflow["metadata"]["namespace"] = "ordered"
    direct.workflows["fake1-1"] = workflow
    with find_run("fake1") as run:
        assert run.cluster
        assert (run.cluster.namespace, run.phase) == ("ordered", "Failed")
    direct.forbidden = ("/apis/argoproj.io/v1alpha1/workflows",)
    with find_run("fake1") as run:
        assert run.cluster
        assert (run.cluster.namespace, run.phase) == ("ordered", "Failed")


def test_a_workflow_made_by_hand_is_one_row_with_a_reason(direct: FakeCluster, stored: Store) -> None:
    labels = {"cxrfold/run": "mine"}
    direct.workflows["mine-1"] = {"metadata": {"name": "mine-1", "labels": labels}, "spec": {"arguments": None}}
    rows, _ = listing(None)
    assert {row.run for row in rows} == {"fake1", "mine"}
    assert "made by hand" in next(row.title for row in rows if row.run == "mine")


def test_the_profile_of_another_version_is_kept_as_plain_values() -> None:
    annotation = json.dumps({"a key of 1999": 1, "profile": {"pushgateway": "http://push:9091"}})
    assert (
        kept_profile({"metadata": {"annotations": {"cxrfold/order": annotation}}})["pushgateway"] == "http://push:9091"
    )
    assert kept_profile({"metadata": {"annotations": {"cxrfold/order": "{"}}}) == {}
    assert kept_profile({}) == {}


def test_a_clock_that_is_wrong_is_told_once_and_not_believed(direct: FakeCluster) -> None:
    alive(direct)
    direct.clock = -3600.0
    with find_run("fake1") as run:
        run.status()
        assert abs((run.now() - datetime.now(UTC)).total_seconds() + 3600) < 5
        [remark] = [note for note in run.notes if "clock" in note]
        assert re.match(r"The clock of this machine is (59m59s|1h00m) ahead of that of Kubernetes", remark)


START = datetime(2026, 11, 23, 18, tzinfo=UTC)
FOLD = PlannedTask(TaskId(Stage.TRAIN_CLASSIFIER, "tiny", 0), (TaskId(Stage.PREPARE),))


def ended(minute: int, code: str = "69") -> NodeStatus:
    started, finished = START + timedelta(minutes=minute), START + timedelta(minutes=minute + 1)
    message = f"main: Error (exit code {code})"
    return NodeStatus("Failed", message, "node0", started.isoformat(), finished.isoformat(), code)


def under_way(*attempts: NodeStatus) -> TaskNodes:
    later = NodeStatus("Running", host="node0", started=(START + timedelta(minutes=11)).isoformat())
    return TaskNodes(NodeStatus("Running", started=START.isoformat()), (*attempts, later))


def test_the_end_of_the_last_attempt_stands_on_the_board() -> None:
    row = row_from_argo(FOLD, under_way(ended(0)), None, live=True, now=START)
    meaning = TABLE[Exit.SERVICE_AWAY].says.split(";")[0]
    expected = f"attempt 1 ended: main: Error (exit code 69): {meaning}"
    assert (row.phase, row.note) == ("starting", f"node0; {expected}")


def test_it_stands_there_in_the_tasks_own_words_if_it_could_store_them() -> None:
    own = Row(
        FOLD.name, "failed", "failed", 1, note="s3://films is full", at=(START + timedelta(seconds=9)).isoformat()
    )
    assert (
        row_from_argo(FOLD, under_way(ended(0)), own, live=True, now=START).note
        == "node0; attempt 1 ended: s3://films is full"
    )
    stale = replace(own, at=(START - timedelta(hours=1)).isoformat())
    assert "exit code 69" in row_from_argo(FOLD, under_way(ended(0)), stale, live=True, now=START).note


@pytest.mark.parametrize(
    ("attempts", "minutes", "says"),
    [
        ([ended(0), ended(4), ended(8)], 11, "tiny: 3 attempts in 11m00s all ended with main: Error (exit code 69)"),
        ([ended(0), ended(4), ended(8)], 9, ""),
        ([ended(0), ended(4, "137"), ended(8)], 11, ""),
        ([ended(0, "75"), ended(4, "75"), ended(8, "75")], 11, ""),
        ([ended(0), ended(8)], 11, ""),
    ],
    ids=["ten minutes", "sooner", "different ends", "checkpoints", "two attempts"],
)
def test_attempts_that_all_end_alike_for_ten_minutes_are_told(
    attempts: list[NodeStatus], minutes: int, says: str
) -> None:
    told = alike({"tiny": under_way(*attempts)}, START + timedelta(minutes=minutes))
    assert told.startswith(says) if says else not told


def test_a_task_that_is_tried_again_is_explained(direct: FakeCluster) -> None:
    workflow = alive(direct)
    for node in workflow["status"]["nodes"].values():
        if node["displayName"] in ("train-detector-yolo-fold-1", "train-detector-yolo-fold-1(1)"):
            node.update(phase="Running", finishedAt=None, message="", outputs={})
    with find_run("fake1") as run:
        [told] = [one for one in explain(run, TaskFilter()) if one.task == "yolo-fold-1"]
    assert "Attempt 1 ended. Argo's message: main: OOMKilled (exit code 137)." in told.paragraph


def test_logs_of_attempts_that_argo_retry_forgot_are_told_from_those_of_today() -> None:
    first, second, again = (LogFile(START + timedelta(minutes=minute), number, str(minute)) for minute, number in
                            ((0, 0), (4, 1), (30, 0)))  # fmt: skip
    assert file_of(ended(30), 0, [first, second, again]) == again
    assert file_of(ended(0), 0, [first]) == first
    assert file_of(ended(30), 0, [first, second]) is None


def test_a_log_that_is_cut_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "POLL_SECONDS", 0.0)
    pods: Iterator[list[str | None]] = iter([["a", "b", None], [None], ["a", "b", "c"]])

    def stream() -> Any:
        for line in next(pods):
            if line is None:
                raise http.NoAnswer("cut")
            yield line

    assert list(reading._patiently(stream)) == ["a", "b", "c"]


def test_a_task_that_argo_retry_keeps_is_finishing_until_the_controller_has_seen_it() -> None:
    kept = replace(ended(0), phase="Succeeded", message="", exit_code="0")
    row = row_from_argo(
        FOLD, TaskNodes(NodeStatus("Running", started=kept.started), (kept,)), None, live=True, now=START
    )
    assert (row.state, row.phase, row.note) == ("running", "finishing", "")


def test_a_queued_task_of_a_stopped_workflow_is_stopped() -> None:
    told = "workflow shutdown with strategy:  Stop"
    queued = TaskNodes(NodeStatus("Running", told), (NodeStatus("Failed", told, started=START.isoformat()),))
    assert row_from_argo(FOLD, queued, None, live=False, now=START).state == "stopped"


def test_a_pod_that_does_not_start_is_trouble_after_some_minutes() -> None:
    pod = NodeStatus("Pending", "PodInitializing", started=START.isoformat())
    nodes = TaskNodes(NodeStatus("Running", started=START.isoformat()), (pod,))
    notes = [
        row_from_argo(FOLD, nodes, None, live=True, now=START + timedelta(minutes=minutes)).note for minutes in (1, 5)
    ]
    usual = "pulling the image and starting"
    assert notes == [usual, f"{usual} for 5m00s: cv.py explain says why"]
