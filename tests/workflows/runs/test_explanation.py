import pytest

from jobs.contract.exits import BadInput
from jobs.contract.names import Stage
from tests.workflows.fake_cluster import FakeCluster
from workflows.runs.explanation import Explanation, explain, failed_alike_once, remedy_of
from workflows.runs.finding.find import find_run
from workflows.runs.logs.reading import TaskFilter
from workflows.runs.run import Run


def test_each_failed_task_is_explained_with_the_next_command(run: Run) -> None:
    explanations = {explanation.task: explanation for explanation in explain(run, TaskFilter())}
    assert set(explanations) == {"yolo-fold-0", "yolo-fold-1"}
    bad, oom = explanations["yolo-fold-0"], explanations["yolo-fold-1"]
    assert "Exit code 78 means: bad input or configuration" in bad.paragraph
    assert "after 2 attempts on node0" in oom.paragraph
    assert "The kernel's OOM killer ended it: 2Gi was not enough." in oom.paragraph
    assert oom.next == "cv.py resume fake1"


def test_an_unreachable_store_becomes_a_note_beside_argos_state(run: Run) -> None:
    rows = run.status()
    assert [row.state for row in rows].count("failed") == 2
    assert "127.0.0.1:9 cannot be reached from here" in run.note
    assert "no log" in explain(run, TaskFilter(Stage.TRAIN_DETECTOR, "yolo", 0))[0].lines[0]


def test_a_picked_task_is_explained_even_if_it_succeeded(run: Run, failed: FakeCluster) -> None:
    failed.logs["fake1-1-train-classifier-412949518"] = ["2026-11-23T18:23:01Z INFO    x | done: best 0.4"]
    explanation = explain(run, TaskFilter(Stage.TRAIN_CLASSIFIER, "tiny", 0))[0]
    assert explanation.paragraph.startswith("tiny-fold-0 succeeded")
    assert explanation.next == "cv.py logs fake1 -s train-classifier -m tiny -k 0"


def test_a_running_task_is_explained_with_the_command_that_follows_its_log(run: Run, failed: FakeCluster) -> None:
    workflow = failed.workflows["fake1-1"]
    workflow["status"]["phase"] = "Running"
    for node in workflow["status"]["nodes"].values():
        if node["displayName"].startswith("train-classifier-tiny-fold-0"):
            node["phase"] = "Running"
    run.refresh()
    explanation = explain(run, TaskFilter(Stage.TRAIN_CLASSIFIER, "tiny", 0))[0]
    assert explanation.paragraph == "tiny-fold-0 is starting on node0."
    assert explanation.next == "cv.py logs fake1 -s train-classifier -m tiny -k 0 -f"


def test_a_pick_that_matches_no_task_names_the_tasks(run: Run) -> None:
    with pytest.raises(BadInput, match="prepare, tiny-fold-0"):
        explain(run, TaskFilter(fold=7))


def test_an_unknown_run_is_refused_by_name(failed: FakeCluster, s3_environment: dict[str, str]) -> None:
    with find_run("nobody") as found, pytest.raises(BadInput, match="nobody"):
        found.status()


def test_folds_that_failed_alike_are_explained_once() -> None:
    def failed(fold: int, last: str, state: str = "failed") -> Explanation:
        task = f"b-fold-{fold}"
        return Explanation(task, state, f"{task} failed on node0.", (f"18:00:0{fold} {last}",), (), "fix it")

    many = [
        failed(0, "no model x"),
        failed(1, "no model x"),
        failed(2, "full disk"),
        failed(3, "no model x", "stopped"),
    ]
    assert [item.paragraph for item in failed_alike_once(many)] == [
        "b-fold-0, b-fold-1 failed on node0.", "b-fold-2 failed on node0.", "b-fold-3 failed on node0.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("3 node(s) didn't match Pod's node affinity/selector", "correct node_selector"),
        ("1 node(s) didn't match Pod's node affinity/selector, 2 Insufficient nvidia.com/gpu", None),
        ("1 node(s) had untolerated taint {dedicated: infra}", "add tolerations"),
        ("ImagePullBackOff: Back-off pulling image", "create secret docker-registry"),
        ('pods "x" is forbidden: failed quota: all: must specify limits.cpu for: main', "the namespace's quota wants"),
        ("ContainerCreating", None),
    ],
)
def test_reasons_that_do_not_pass_by_waiting_have_a_remedy(message: str, remedy: str | None) -> None:
    found = remedy_of(message)
    assert found is None if remedy is None else remedy in (found or "")
