from jobs.contract.names import Stage
from jobs.contract.task import TaskId
from tests.workflows.fake_cluster import FakeCluster
from workflows.runs.logs.lines import LineFilter
from workflows.runs.logs.reading import TaskFilter, current_lines
from workflows.runs.run import Run


def test_logs_of_pods_are_merged_by_time(run: Run, failed: FakeCluster) -> None:
    nodes = run.nodes(TaskId(Stage.TRAIN_DETECTOR, "yolo", 1))
    assert nodes
    first, second = (attempt.pod for attempt in nodes.attempts)
    failed.logs = {
        second: ["2026-11-23T18:23:05Z INFO    b | later", "2026-11-23T18:23:09Z INFO    b | last"],
        first: ["2026-11-23T18:23:01Z INFO    a | first", "Traceback", "2026-11-23T18:23:07Z INFO    a | between"],
    }
    warning, *lines = current_lines(run, TaskFilter(Stage.TRAIN_DETECTOR, "yolo", 1), LineFilter())
    assert "127.0.0.1:9 cannot be reached from here" in warning.text
    assert [(line.attempt, line.text) for line in lines] == [
        (1, "first"), (1, "Traceback"), (2, "later"), (1, "between"), (2, "last"),
    ]  # fmt: skip
