"""``cv.py cost`` and what ``submit`` expects, from the records in a store."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage
from jobs.contract.profile import Prices, Profile
from jobs.contract.stored import layout
from jobs.contract.stored.records import Cost, Done, Heartbeat, Reference
from jobs.contract.task import TaskId
from jobs.runtime.store import Store
from tests.workflows.fake_cluster import fake_cluster
from workflows import cv
from workflows.commands.doctor import examine
from workflows.manifest.spec import RunSpec
from workflows.runs.costs.estimate import estimates, lines
from workflows.runs.costs.spent import run_cost
from workflows.runs.finding.find import find_run
from workflows.store import opening

EXPERIMENT = Experiment.model_validate({"name": "x", "folds": {"count": 2}, "classifiers": {"b": {}}})
FOLD_0, FOLD_1 = (TaskId(Stage.TRAIN_CLASSIFIER, "b", fold) for fold in (0, 1))
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def attempt(store: Store, run: str, task: TaskId, hours: float, exit_code: int | None = 0, gpus: int = 1) -> None:
    """An attempt, with a log and its record."""
    beat = Heartbeat(
        stage=task.stage, model=task.model, fold=task.fold, phase="x", attempt=0, started=NOW, gpus=gpus,
        at=NOW + timedelta(hours=hours), exit_code=exit_code, saved=NOW + timedelta(hours=hours / 2),
    )  # fmt: skip
    key = layout.attempt(run, task, NOW + timedelta(seconds=-(exit_code or 0)), 0)
    store.put_json(layout.attempt_record(key), beat.model_dump(mode="json"))
    store.put(layout.log(key), b"{}\n")


@pytest.fixture
def priced(s3_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Store:
    """A run with an attempt that failed, one that was done, prepare, and an attempt without a record."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("ARGO_SERVER", raising=False)
    spec = RunSpec.of(EXPERIMENT, Profile(prices=Prices(gpu_hour=2, pod_hour=1)), revision="v", run="r")
    s3_store.put(layout.run_experiment("r"), EXPERIMENT.model_dump_json().encode())
    s3_store.put(layout.run_order("r"), spec.kept.encode())
    attempt(s3_store, "r", FOLD_0, 2, exit_code=71)
    attempt(s3_store, "r", FOLD_0, 3)
    attempt(s3_store, "r", TaskId(Stage.PREPARE), 0.5, gpus=0)
    s3_store.put(layout.log(layout.attempt("r", FOLD_1, NOW, 0)), b"{}\n")
    return s3_store


def test_hours_and_money_by_task_in_the_order_of_the_run(priced: Store) -> None:
    with find_run("r") as run:
        cost = run_cost(run)
    prepare, fold = cost.rows
    assert (prepare.what, prepare.device, prepare.money) == ("prepare", "no GPU", pytest.approx(0.5))
    assert (fold.attempts, fold.ends, fold.total, fold.money) == (2, "1 failed", pytest.approx(5), pytest.approx(10))
    assert fold.hours["lost"] == pytest.approx(1), "since the last checkpoint"
    assert cost.notes == ["1 attempts of run r are left out: an earlier version ran them."]


def test_the_command_prints_rows_sums_and_json(priced: Store) -> None:
    shown = CliRunner().invoke(cv.app, ["cost", "r"])
    assert shown.exit_code == 0, shown.output
    assert "b-fold-0\t2\tGPU\t5.00\t4.00\t0.00\t0.00\t0.00\t1.00\t0.00\t10.00 EUR\t1 failed" in shown.stdout
    assert "all tasks\t2\tGPU\t5.00" in shown.stdout
    (found,) = json.loads(CliRunner().invoke(cv.app, ["cost", "r", "--json"]).stdout)
    assert {row["device"]: row["money"] for row in found["totals"]} == {"GPU": 10.0, "no GPU": 0.5}


def test_a_study_is_the_sum_of_the_runs_in_its_log(priced: Store, tmp_path: Path) -> None:
    priced.put(layout.run_experiment("s"), EXPERIMENT.model_dump_json().encode())
    attempt(priced, "s", FOLD_1, 1)
    (tmp_path / "study.csv").write_text("name,run\na,r\nb,s\nb,s\n")
    shown = CliRunner().invoke(cv.app, ["cost", str(tmp_path)]).stdout
    assert "r\t2\tGPU\t5.00" in shown
    assert "s\t1\tGPU\t1.00" in shown
    assert "all runs\t3\tGPU\t6.00" in shown


def test_a_folder_without_a_log_and_a_missing_run_are_told(priced: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(cv.app, ["cost", str(tmp_path / "empty")])
    assert isinstance(result.exception, BadInput)
    assert "study.csv" in str(result.exception)
    assert isinstance(CliRunner().invoke(cv.app, ["cost", "nothing"]).exception, BadInput)


def finished(store: Store, run: str, task: TaskId, seconds: float) -> None:
    """A training that is done, whose work took so long."""
    cost = Cost(seconds=seconds, peak_memory=1, device="NVIDIA L40S")
    done = Done(
        stage=task.stage, kind="weights", digest=f"{task.fold}" * 64, inputs={}, outputs={}, scores={}, cost=cost,
        revision="v", versions={}, created=NOW,
    )  # fmt: skip
    store.put_json(layout.done(layout.work(task.stage, done.digest)), done.model_dump(mode="json"))
    reference = Reference(
        run=run, stage=task.stage, model=task.model, fold=task.fold, works={"weights": done.digest}, scores={},
        attempt=0, created=NOW,
    )  # fmt: skip
    store.put_json(layout.reference(run, task), reference.model_dump(mode="json"))


def test_like_tasks_of_earlier_runs_say_what_to_expect(priced: Store) -> None:
    finished(priced, "r", FOLD_0, 3600)
    finished(priced, "r", FOLD_1, 7200)
    other = Experiment.model_validate({"name": "y", "folds": {"count": 3}, "classifiers": {"mine": {}}})
    (found,) = estimates(priced, other)
    assert list(lines([found], models=1)) == [
        "Before: mine 1h30m a fold (1h00m to 2h00m, 2 earlier tasks of r on NVIDIA L40S)",
        "Expected: 4.50 hours of training pods in all.",
    ]


def test_submit_says_beforehand_what_like_tasks_took(
    priced: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    finished(priced, "r", FOLD_0, 3600)
    monkeypatch.setattr(examine, "examine", lambda *_, **__: [])
    monkeypatch.setattr(opening, "open_store", lambda *_: priced)
    with fake_cluster() as fake:
        monkeypatch.setenv("ARGO_SERVER", fake.address)
        monkeypatch.setenv("ARGO_SECURE", "false")
        Path("x.yaml").write_bytes(priced.get(layout.run_experiment("r")))
        shown = CliRunner().invoke(cv.app, ["submit", "-e", "x.yaml", "--run", "again", "--profile", "kit"])
    assert shown.exit_code == 0, shown.output
    assert "Before: b 1h00m a fold (1 earlier task of r on NVIDIA L40S)" in shown.stderr
    assert "Expected: 2.00 hours of training pods in all." in shown.stderr


def test_other_sizes_and_other_films_are_not_alike(priced: Store) -> None:
    finished(priced, "r", FOLD_0, 3600)
    for changed in ({"classifiers": {"b": {"size": 128}}}, {"data": {"source": "phantom:patients=9"}}):
        other = Experiment.model_validate({"name": "y", "classifiers": {"b": {}}, **changed})
        assert estimates(priced, other) == []
    assert list(lines([], models=1)) == []
