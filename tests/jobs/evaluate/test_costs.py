from datetime import UTC, datetime

from jobs.contract.names import Stage
from jobs.contract.records import Cost, Done
from jobs.contract.task import TaskId
from jobs.evaluate.costs import cost_rows, mixed_precision, time_shares
from jobs.evaluate.history import TaskHistory


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
