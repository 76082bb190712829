import re
from datetime import UTC, datetime

import pytest

from jobs.contract.exits import BadInput
from workflows.runs.logs.lines import LineFilter, LogLine, from_pod, from_store, line_filter

POD = [
    "2026-11-23T18:00:01Z INFO    train-classifier b3 fold 2 | epoch 1/12 lr 0.001",
    "2026-11-23T18:00:02Z ERROR   train-classifier b3 fold 2 | A bug in train-classifier:",
    "Traceback (most recent call last):",
    '  File "/app/jobs/x.py", line 1, in <module>',
    "2026-11-23T18:00:03.250Z WARNING train-classifier b3 fold 2 | a | b",
    'time="2026-11-23T18:00:04.000Z" level=info msg="sub-process exited" argo=true error="<nil>"',
    "Error: exit status 70",
]


def test_a_pods_lines_are_taken_apart_and_argos_own_left_out() -> None:
    lines = list(from_pod("b3-fold-2", 1, POD))
    assert [(line.at, line.level, line.text) for line in lines] == [
        ("2026-11-23T18:00:01", "info", "epoch 1/12 lr 0.001"),
        ("2026-11-23T18:00:02", "error", "A bug in train-classifier:"),
        ("2026-11-23T18:00:02", "error", "Traceback (most recent call last):"),
        ("2026-11-23T18:00:02", "error", '  File "/app/jobs/x.py", line 1, in <module>'),
        ("2026-11-23T18:00:03", "warning", "a | b"),
    ]
    assert {line.attempt for line in lines} == {1}


def test_a_stored_record_of_several_lines_becomes_several_lines() -> None:
    record = {
        "at": "2026-11-23T18:00:02.123+00:00",
        "level": "error",
        "logger": "x",
        "text": "a bug\nTraceback\n  here",
    }
    assert list(from_store("t", 0, [record])) == [
        LogLine("t", 0, "2026-11-23T18:00:02", "error", text) for text in ("a bug", "Traceback", "  here")
    ]


def test_lines_are_picked_by_time_and_by_text() -> None:
    lines = list(from_pod("t", 0, POD))
    since = LineFilter(since=datetime(2026, 11, 23, 18, 0, 2, tzinfo=UTC))
    assert next(line.text for line in filter(since, lines)) == "A bug in train-classifier:"
    assert [line.text for line in filter(LineFilter(grep=re.compile(r"epoch \d+")), lines)] == ["epoch 1/12 lr 0.001"]


def test_since_counts_back_from_now() -> None:
    now = datetime(2026, 11, 23, 18, tzinfo=UTC)
    assert line_filter("10m", None, now).since == datetime(2026, 11, 23, 17, 50, tzinfo=UTC)


@pytest.mark.parametrize(("since", "grep"), [("soon", None), ("10", None), (None, "(")])
def test_what_is_not_understood_is_named(since: str | None, grep: str | None) -> None:
    with pytest.raises(BadInput, match=r"--(since soon|since 10|grep \()"):
        line_filter(since, grep, datetime.now(UTC))
