from datetime import UTC, datetime, timedelta

from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Cost, Done, Heartbeat
from jobs.contract.task import TaskId
from jobs.evaluate.costs import attempt_rows, cost_rows, mixed_precision, read_attempts, time_shares
from jobs.evaluate.history import TaskHistory
from jobs.evaluate.metrics_json import ReportedRun
from jobs.runtime.store import Store


def history(model: str, fold: int, precision: str, **spent: float) -> TaskHistory:
    cost = Cost(seconds=100, peak_memory=1 << 30, precision=precision, spent=spent)
    weights = Done(
        stage=Stage.TRAIN_CLASSIFIER, kind="weights", digest="0", inputs={}, outputs={}, scores={}, cost=cost,
        revision="r", versions={}, created=datetime.now(UTC),
    )  # fmt: skip
    return TaskHistory(TaskId(Stage.TRAIN_CLASSIFIER, model, fold), {"weights": weights})


def test_a_row_names_precision_and_what_the_time_was_spent_on():
    tasks = [history("b3", fold, "bf16", training=80.0, evaluating=15.0, waiting=5.0) for fold in (0, 1)]
    (row,) = cost_rows([*tasks])
    assert row["precision"] == "bf16"
    assert row["spent"] == "training 80 %, evaluating 15 %, waiting 5 %"


def test_folds_in_different_precisions_are_said_so():
    tasks = [history("b3", 0, "bf16"), history("b3", 1, "fp16"), history("b3", 2, "bf16"), history("v2", 0, "bf16")]
    (sentence,) = mixed_precision(tasks)
    assert sentence.startswith("b3 was trained in bf16 (folds 0, 2) and fp16 (folds 1)")
    assert mixed_precision([history("b3", fold, "bf16") for fold in range(5)]) == []


def test_nothing_measured_is_no_share():
    assert time_shares([history("b3", 0, "bf16")]) == ""


def test_the_reports_hours_are_those_of_the_attempts_at_the_prices_of_the_order(s3_store: Store) -> None:
    started = datetime(2026, 11, 28, 12, tzinfo=UTC)
    tasks = (
        (TaskId(Stage.TRAIN_CLASSIFIER, "b3", 0), 70, 1), (TaskId(Stage.TRAIN_CLASSIFIER, "b3", 1), 0, 1),
        (TaskId(Stage.EVALUATE), None, 0),
    )  # fmt: skip
    for task, exit_code, gpus in tasks:
        beat = Heartbeat(
            stage=task.stage, model=task.model, fold=task.fold, phase="x", attempt=0, started=started, gpus=gpus,
            at=started + timedelta(hours=1), exit_code=exit_code, gpu="NVIDIA L40S" if gpus else "",
        )  # fmt: skip
        key = layout.attempt_record(layout.attempt("r", task, started, 0))
        s3_store.put_json(key, beat.model_dump(mode="json"))
    s3_store.put_json(layout.run_order("r"), {"profile": {"prices": {"currency": "USD", "gpu_hour": 2}}})
    experiment = Experiment.model_validate({"name": "x", "classifiers": {"b3": {}}})
    attempts, currency = read_attempts(s3_store, "r")
    rows = attempt_rows(ReportedRun("r", experiment, "d", (0, 1), False, attempts=attempts, currency=currency))
    shown = [(row["what"], row["device"], row["hours"], row["lost"], row["money"], row["ends"]) for row in rows]
    assert shown == [
        ("all tasks", "NVIDIA L40S", "2.00", "1.00", "4.00 USD", ""),
        ("all tasks", "no GPU", "1.00", "1.00", "", ""),
        ("b3-fold-0", "NVIDIA L40S", "1.00", "1.00", "2.00 USD", "1 failed"),
    ]
