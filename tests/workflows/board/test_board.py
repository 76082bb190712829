"""The board: what it shows of tasks, on a terminal and in plain lines."""

import io
from datetime import UTC, datetime

from rich.console import Console

from jobs.contract.names import Stage
from jobs.contract.stored.records import Heartbeat
from workflows.board.board import Board, changes, line, table, title
from workflows.board.rows import Row, missing_folds


def printed(renderable, width=100, terminal=False):
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_line_a_task_with_epoch_best_and_time_left():
    row = Row("b3-fold-2", "running", "training", 2, 3.46, 12, 0.61234, 95.0, 40.0, "node-1")
    text = printed(table([row]))
    for part in ("b3-fold-2", "training", "2", "3.5/12", "0.6123", "40s", "1m35s", "node-1"):
        assert part in text


def test_a_heartbeat_fills_in_what_the_task_says_and_keeps_the_score():
    beat = Heartbeat(
        stage=Stage.TRAIN_DETECTOR, phase="training", attempt=2, at=datetime.now(UTC), started=datetime.now(UTC),
        epoch=4.0, epochs=10, best=0.25, eta=12.0, message="said", node="here",
    )  # fmt: skip
    row = Row("t", "running", note="opacity 0.2500", seconds=9).with_heartbeat(beat)
    assert (row.phase, row.attempt, row.epoch, row.best, row.seconds) == ("training", 3, 4.0, 0.25, 9)
    assert row.note == "opacity 0.2500"
    assert Row("t", "running").with_heartbeat(beat).note == "said"


def test_more_tasks_than_lines_are_summed_up_and_the_failed_ones_stay():
    rows = [Row(f"done-{i}", "succeeded") for i in range(20)] + [Row(f"wait-{i}", "waiting") for i in range(10)]
    rows += [Row("broken", "failed"), Row("busy", "running")]
    text = printed(table(rows, height=8))
    assert "broken" in text
    assert "busy" in text
    assert "and 10 waiting, 20 succeeded" in text
    assert len(text.splitlines()) <= 9
    assert "done-7" in printed(table(rows))


def test_the_title_counts_tasks():
    rows = [Row("a", "succeeded"), Row("b", "failed"), Row("c", "waiting")]
    assert title("demo-12", rows, 61) == "demo-12   1 of 3 tasks done, 1 failed   1m01s"
    assert title("demo-12", rows, None) == "demo-12   1 of 3 tasks done, 1 failed"


def test_the_title_names_the_folds_that_a_result_is_without():
    rows = [Row("b3-fold-0", "succeeded"), Row("b3-fold-1", "failed"), Row("evaluate", "succeeded")]
    assert title("r", rows, 1) == "r   2 of 3 tasks done, 1 failed, result without fold 1   1s"
    assert missing_folds([*rows[:2], Row("evaluate", "running")]) == ()


def test_only_what_changed_is_said_and_waiting_tasks_say_nothing():
    rows = [Row("a", "running", "training"), Row("b", "waiting")]
    assert list(changes({}, rows)) == ["a: training"]
    before = {row.task: row for row in rows}
    assert list(changes(before, rows)) == []
    later = [Row("a", "succeeded", "done", seconds=65, note="map4 0.61"), Row("b", "running", attempt=2)]
    assert list(changes(before, later)) == ["a: done, after 1m05s, map4 0.61", "b: running, attempt 2"]


def test_a_failure_says_how_it_ended():
    assert line(Row("a", "failed", seconds=3, note="exit 78")) == "a: failed, after 3s, exit 78"
    assert line(Row("a", "succeeded", "done")) == "a: done"


def test_without_a_terminal_plain_lines_come_as_things_change():
    console = Console(file=io.StringIO(), width=40)
    with Board("demo", console) as board:
        board.show([Row("tiny-fold-0", "running", "training", epoch=1.0, epochs=10)])
        board.show([Row("tiny-fold-0", "running", "training", epoch=2.0, epochs=10)])
        board.show([Row("tiny-fold-0", "succeeded", "done", seconds=5)])
    said = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [text[10:] for text in said] == [
        "tiny-fold-0: training, epoch 1.0/10",
        "tiny-fold-0: done, after 5s",
    ]


def test_on_a_terminal_the_last_state_stays_on_the_screen():
    console = Console(file=io.StringIO(), width=80, height=5, force_terminal=True, color_system=None)
    with Board("demo", console) as board:
        board.show([Row(f"task-{i}", "waiting") for i in range(12)])
        board.show([Row(f"task-{i}", "succeeded", "done") for i in range(12)])
    assert console.file.getvalue().count("task-7") == 1  # type: ignore[attr-defined]
