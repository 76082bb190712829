"""What an attempt leaves beside its log, and the GPU hours at which it stops."""

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs.contract import environment
from jobs.contract.exits import Exit
from jobs.contract.experiment import Classifier, Experiment
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Heartbeat
from jobs.contract.task import TaskId
from jobs.runtime.context import Context
from jobs.runtime.stage import run_stage
from jobs.runtime.store import Store
from jobs.runtime.telemetry.before_start import times_before_start

EXPERIMENT = Experiment(name="tiny", classifiers={"net": Classifier()})
FOLD_2 = TaskId(Stage.TRAIN_CLASSIFIER, "net", 2)
Body = Callable[[Context], dict[str, float]]


@pytest.fixture
def attempt(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[[Body], Exit]:
    """Run a body as an attempt that holds one GPU."""
    monkeypatch.setenv(environment.RUN, "r")
    monkeypatch.setenv(environment.EXPERIMENT, EXPERIMENT.model_dump_json())
    monkeypatch.setenv(environment.GPUS, "1")

    def run(body: Body) -> Exit:
        monkeypatch.setitem(sys.modules, "jobs.train_classifier", SimpleNamespace(run=body))
        return run_stage(FOLD_2)

    return run


def records(store: Store) -> list[Heartbeat]:
    keys = [entry.key for entry in store.list(layout.run("r")) if layout.is_attempt_record(entry.key)]
    return [store.get_record(key, Heartbeat) for key in sorted(keys)]


def earlier_attempt(store: Store, hours: float) -> None:
    started = datetime.now(UTC) - timedelta(days=1)
    beat = Heartbeat(
        stage=FOLD_2.stage, model="net", fold=0, phase="done", attempt=0, started=started, exit_code=0, gpus=1,
        at=started + timedelta(hours=hours),
    )  # fmt: skip
    key = layout.attempt_record(layout.attempt("r", TaskId(FOLD_2.stage, "net", 0), started, 0))
    store.put_json(key, beat.model_dump(mode="json"))


def test_every_attempt_leaves_a_record_beside_its_log(attempt: Callable[[Body], Exit], s3_store: Store) -> None:
    def body(context: Context) -> dict[str, float]:
        context.progress.saved()
        return {}

    attempt(body)
    (record,) = records(s3_store)
    logs = [entry.key for entry in s3_store.list(layout.run("r")) if layout.read_log(entry.key)]
    (key,) = [entry.key for entry in s3_store.list(layout.run("r")) if layout.is_attempt_record(entry.key)]
    assert key.removesuffix(".json") == logs[0].removesuffix(".log")
    assert (record.exit_code, record.gpus) == (0, 1)
    assert record.saved is not None
    assert record.importing > 0


def test_the_age_of_scratch_and_argos_time_divide_the_time_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    age = times_before_start(now, None)["importing"]
    monkeypatch.setenv(environment.CREATED, str(int(now.timestamp() - age - 100)))
    times = times_before_start(now, now.timestamp() - age - 30)
    assert times["pending"] == pytest.approx(70, abs=2)
    assert times["pulling"] == pytest.approx(30, abs=2)
    ahead = times_before_start(now, now.timestamp() - age - 200)  # Argo's clock is ahead of the node's
    assert ahead["pending"] == 0


def test_a_run_whose_gpu_hours_are_spent_starts_nothing(
    attempt: Callable[[Body], Exit], s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier_attempt(s3_store, hours=3)
    monkeypatch.setenv(environment.MAX_GPU_HOURS, "2.5")

    def body(_: Context) -> dict[str, float]:
        raise AssertionError("the stage began")

    assert attempt(body) is Exit.BUDGET_SPENT
    (record,) = [one for one in records(s3_store) if one.fold == 2]
    assert (record.phase, record.exit_code) == ("stopped", 76)
    assert "has used 3.0" in record.message
    assert "cv.py resume r --max-gpu-hours MORE" in record.message


def test_a_training_stops_at_its_next_check_once_others_spent_the_hours(
    attempt: Callable[[Body], Exit], s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(environment.MAX_GPU_HOURS, "2.5")
    monkeypatch.setattr("jobs.runtime.telemetry.budget.CHECK_SECONDS", 0.0)

    def body(context: Context) -> dict[str, float]:
        context.stop.check()
        earlier_attempt(s3_store, hours=3)
        context.progress.phase("training")  # wakes the heartbeat
        until = time.monotonic() + 20
        while not context.stop.requested and time.monotonic() < until:
            time.sleep(0.05)
        context.stop.check()
        return {}

    assert attempt(body) is Exit.BUDGET_SPENT


def test_hours_that_are_no_number_are_refused(attempt: Callable[[Body], Exit], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.MAX_GPU_HOURS, "many")
    assert attempt(lambda _: {}) is Exit.BAD_INPUT


def test_the_scratch_folder_of_a_pod_is_looked_at_before_it_is_written_to(
    attempt: Callable[[Body], Exit], s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = Path(os.environ[environment.SCRATCH])
    scratch.mkdir(parents=True, exist_ok=True)
    made = time.time() - 5000
    os.utime(scratch, (made, made))
    monkeypatch.setenv(environment.IN_POD, "10.0.0.1")
    monkeypatch.setenv(environment.CREATED, str(int(made - 60)))
    attempt(lambda _: {})
    (record,) = records(s3_store)
    assert record.pending == pytest.approx(60, abs=2)
    assert record.pulling + record.importing == pytest.approx(5000, abs=60)
