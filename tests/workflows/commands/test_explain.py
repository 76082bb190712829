import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.contract.exits import BadInput
from jobs.contract.names import Stage
from tests.workflows.fake_cluster import FakeCluster, fake_cluster
from workflows.commands.explain import explain
from workflows.commands.logs import Pick, there_now
from workflows.commands.resume import resubmission
from workflows.runs.lines import Wanted
from workflows.runs.run import Run, found_run
from workflows.store import reaching as store

HERE = Path(__file__).parent
OUT_OF_MEMORY = "fake1-1-train-detector-1752614380"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    """A cluster that has a run with every kind of failure; the store is out of reach."""
    monkeypatch.setenv("KUBECONFIG", "/none")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    monkeypatch.setattr(store, "CONNECT_SECONDS", 0.2)
    with fake_cluster() as server:
        monkeypatch.setenv("ARGO_SERVER", server.address)
        monkeypatch.setenv("ARGO_SECURE", "false")
        failed: dict[str, Any] = json.loads((HERE / "argo_failed.json").read_text())
        kept = failed["metadata"]["annotations"]
        kept["cxrfold/submission"] = kept["cxrfold/submission"].replace("minio.example:9000", "127.0.0.1:9")
        server.workflows["fake1-1"] = failed
        server.logs[OUT_OF_MEMORY] = ["2026-11-23T18:23:01Z INFO    train-detector yolo fold 1 | epoch 1/12"]
        yield server


@pytest.fixture
def run(fake: FakeCluster) -> Iterator[Run]:
    with found_run("fake1") as found:
        yield found


def test_each_task_in_trouble_gets_its_paragraph_and_the_command_to_give_next(run: Run) -> None:
    stories = {story.task: story for story in explain(run, Pick())}
    assert set(stories) == {"train-detector-yolo-fold-0", "train-detector-yolo-fold-1"}
    bad, oom = stories["train-detector-yolo-fold-0"], stories["train-detector-yolo-fold-1"]
    assert "Exit code 78 means: bad input or configuration" in bad.paragraph
    assert "after 2 attempts on node0" in oom.paragraph
    assert "The kernel's OOM killer ended it: 2Gi were not enough." in oom.paragraph
    assert oom.next == "cv.py resume fake1"


def test_a_store_out_of_reach_is_said_and_argos_word_still_told(run: Run) -> None:
    rows = run.status()
    assert [row.state for row in rows].count("failed") == 2
    assert "127.0.0.1:9 is not reached from here" in run.note
    assert "no log" in explain(run, Pick(Stage.TRAIN_DETECTOR, "yolo", 0))[0].lines[0]


def test_a_task_that_is_picked_is_told_even_if_it_went_well(run: Run, fake: FakeCluster) -> None:
    fake.logs["fake1-1-train-classifier-412949518"] = ["2026-11-23T18:23:01Z INFO    x | done: best 0.4"]
    story = explain(run, Pick(Stage.TRAIN_CLASSIFIER, "tiny", 0))[0]
    assert story.paragraph.startswith("train-classifier-tiny-fold-0 is done")
    assert story.next == "cv.py logs fake1 -s train-classifier -m tiny -k 0"


def test_a_task_that_runs_is_told_with_the_way_to_follow_it(run: Run, fake: FakeCluster) -> None:
    workflow = fake.workflows["fake1-1"]
    workflow["status"]["phase"] = "Running"
    for node in workflow["status"]["nodes"].values():
        if node["displayName"].startswith("train-classifier-tiny-fold-0"):
            node["phase"] = "Running"
    run.refresh()
    story = explain(run, Pick(Stage.TRAIN_CLASSIFIER, "tiny", 0))[0]
    assert story.paragraph == "train-classifier-tiny-fold-0 is starting on node0."
    assert story.next == "cv.py logs fake1 -s train-classifier -m tiny -k 0 -f"


def test_a_pick_that_means_nothing_names_the_tasks_there_are(run: Run) -> None:
    with pytest.raises(BadInput, match="it has prepare, train-classifier-tiny-fold-0"):
        explain(run, Pick(fold=7))


def test_logs_of_pods_are_merged_by_time(run: Run, fake: FakeCluster) -> None:
    first, second = (node.pod for node in _attempts(run, "train-detector-yolo-fold-1"))
    fake.logs = {
        second: ["2026-11-23T18:23:05Z INFO    b | later", "2026-11-23T18:23:09Z INFO    b | last"],
        first: ["2026-11-23T18:23:01Z INFO    a | first", "Traceback", "2026-11-23T18:23:07Z INFO    a | between"],
    }
    warning, *lines = there_now(run, Pick(Stage.TRAIN_DETECTOR, "yolo", 1), Wanted())
    assert "127.0.0.1:9 is not reached from here" in warning.text
    assert [(line.attempt, line.text) for line in lines] == [
        (0, "first"), (0, "Traceback"), (1, "later"), (0, "between"), (1, "last"),
    ]  # fmt: skip


def test_resume_raises_the_memory_of_what_the_oom_killer_took_and_of_nothing_else(run: Run) -> None:
    submission, said = resubmission(run)
    assert submission.memory == {"train-detector-yolo-fold-1": "3Gi"}
    assert said == ["train-detector-yolo-fold-1 ran out of memory at 2Gi: it gets 3Gi."]
    assert submission.revision == "v1"


def test_a_run_that_runs_is_not_resumed(run: Run, fake: FakeCluster) -> None:
    fake.workflows["fake1-1"]["status"]["phase"] = "Running"
    run.refresh()
    with pytest.raises(BadInput, match="is running"):
        resubmission(run)


def test_a_run_that_nobody_knows_is_a_sentence(fake: FakeCluster, s3_environment: dict[str, str]) -> None:
    with found_run("nobody") as found, pytest.raises(BadInput, match="nobody"):
        found.status()


def _attempts(run: Run, task: str) -> tuple[Any, ...]:
    from workflows.cluster import workflow as wf

    assert run.workflow
    return wf.tasks(run.workflow)[task].attempts
