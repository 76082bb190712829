"""The exit handler against a real store and a real receiver."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from jobs.contract import environment
from jobs.contract.exits import BadInput, Exit
from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage
from jobs.contract.plan import plan
from jobs.contract.stored import layout
from jobs.contract.stored.records import Heartbeat, Notice, Reference
from jobs.contract.task import TaskId
from jobs.runtime.store import Store
from jobs.tools.notify import notify
from tests.cluster.receiver import Receiver, webhook

EXPERIMENT = Experiment.model_validate({"name": "trial", "classifiers": {"b3": {}}, "folds": {"run": [0, 1]}})
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
LOST = TaskId(Stage.TRAIN_CLASSIFIER, "b3", 1)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with webhook("127.0.0.1") as one:
        yield one


@pytest.fixture
def ended(s3_store: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A run whose workflow ended well."""
    for task in (planned.id for planned in plan(EXPERIMENT)):
        reference = Reference(
            run="r", stage=task.stage, model=task.model, fold=task.fold, works={}, scores={}, attempt=0, created=NOW
        )
        s3_store.put_json(layout.reference("r", task), reference.model_dump(mode="json"))
    headline = {"figure": "map4", "score": 0.61234, "interval": {"low": 0.5, "high": 0.7}}
    s3_store.put_json(layout.report("r", "metrics.json"), {"headline": headline, "degraded": False})
    monkeypatch.setenv(environment.RUN, "r")
    monkeypatch.setenv(environment.EXPERIMENT, EXPERIMENT.model_dump_json())
    monkeypatch.setenv(environment.WORKFLOW, "r-1 uid-1 Succeeded")
    monkeypatch.setenv(environment.PAGES, "https://store.example/report.html https://argo.example/r-1")
    monkeypatch.setenv(environment.ADDRESSES, receiver.address)
    return s3_store


def lose(store: Store, monkeypatch: pytest.MonkeyPatch, exit_code: int | None, message: str = "") -> None:
    """Let a fold end in a later attempt than the one that was done."""
    beat = Heartbeat(
        stage=LOST.stage, model="b3", fold=1, phase="failed", attempt=1, at=NOW + timedelta(hours=1),
        started=NOW, message=message, exit_code=exit_code,
    )  # fmt: skip
    store.put_json(layout.heartbeat("r", LOST), beat.model_dump(mode="json"))
    monkeypatch.setenv(environment.WORKFLOW, "r-2 uid-2 Failed")


def stored(store: Store, uid: str) -> Notice:
    return store.get_record(layout.notice("r", uid, "Succeeded"), Notice)


def test_a_webhook_gets_run_score_and_link(ended: Store, receiver: Receiver) -> None:
    assert notify() is Exit.DONE
    (got,) = receiver.got
    assert got["title"] == "Run r succeeded: map4 0.6123 (0.5000 to 0.7000)"
    assert (got["run"], got["status"], got["type"]) == ("r", "succeeded", "success")
    assert (got["score"], got["link"]) == ("map4 0.6123 (0.5000 to 0.7000)", "https://store.example/report.html")
    assert "https://argo.example/r-1" in got["message"]
    assert stored(ended, "uid-1").problems == ""


def test_a_failed_task_is_named_with_its_own_words(
    ended: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(ended, monkeypatch, 78, "The store lacks weights.")
    notify()
    (got,) = receiver.got
    assert got["title"].startswith("Run r failed")
    assert got["failures"] == "b3-fold-1: The store lacks weights."
    assert "cv.py explain r" in got["message"]


@pytest.mark.parametrize(("exit_code", "status"), [(75, "stopped"), (None, "failed")])
def test_a_stop_is_no_failure_and_a_kill_is_one(
    exit_code: int | None, status: str, ended: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(ended, monkeypatch, exit_code)
    notify()
    assert receiver.got[0]["status"] == status


def test_a_second_attempt_tells_nobody_and_the_next_workflow_tells_again(
    ended: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    notify()
    notify()
    assert len(receiver.got) == 1
    monkeypatch.setenv(environment.WORKFLOW, "r-1 another-uid Succeeded")
    notify()
    monkeypatch.setenv(environment.WORKFLOW, "r-1 another-uid Failed")
    notify()
    assert len(receiver.got) == 3, "a retried workflow that ends otherwise is told, too"


@pytest.mark.slow
def test_an_attempt_killed_while_it_told_is_not_repeated_but_said(ended: Store, receiver: Receiver) -> None:
    begun = Notice(run="r", workflow="r-1", status="succeeded", title="", text="", sender="dead", at=NOW)
    ended.put_json(layout.notice("r", "uid-1", "Succeeded"), begun.model_dump(mode="json"))
    notify()
    assert receiver.got == []
    assert "is not known" in stored(ended, "uid-1").problems


def test_a_receiver_that_does_not_answer_is_said_and_fails_nothing(
    ended: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    dead = "json://someone:hidden-word@127.0.0.1:9/hook"
    monkeypatch.setenv(environment.ADDRESSES, f"{dead}\nno-such-scheme://x\n{receiver.address}")
    assert notify() is Exit.DONE
    assert len(receiver.got) == 1, "the others are told"
    problems = stored(ended, "uid-1").problems
    assert problems.startswith("Not told that r-1 ended: json://127.0.0.1")
    assert "no-such-scheme://… (no address that Apprise knows" in problems
    assert "hidden-word" not in problems + capfd.readouterr().out


def test_outside_an_exit_handler_it_says_so(ended: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(environment.WORKFLOW)
    with pytest.raises(BadInput, match="exit handler"):
        notify()
