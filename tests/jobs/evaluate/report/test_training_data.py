"""What the report says of starts and of films beside the folds."""

from datetime import UTC, datetime
from typing import Any

from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage
from jobs.contract.stored.records import Cost, Done
from jobs.contract.task import TaskId
from jobs.evaluate.history import TaskHistory
from jobs.evaluate.report.training_data import extra_rows, start_rows

LABELS = {"run": "teacher", "keep": 0.5, "boxes": {"above": 0.3, "below": 0.05}}


def training(model: str, fold: int, *extra: dict[str, Any]) -> TaskHistory:
    weights = Done(
        stage=Stage.TRAIN_CLASSIFIER, kind="weights", digest="0", inputs={"extra": extra} if extra else {}, outputs={},
        scores={}, cost=Cost(seconds=1, peak_memory=1), revision="r", versions={}, created=datetime.now(UTC),
    )  # fmt: skip
    return TaskHistory(TaskId(Stage.TRAIN_CLASSIFIER, model, fold), {"weights": weights})


def ordered(weights: dict[str, str | None], **data: Any) -> Experiment:
    classifiers = {name: {"weights": value} for name, value in weights.items()}
    return Experiment.model_validate({"name": "x", "data": data, "classifiers": classifiers})


def test_each_model_says_what_it_began_with():
    experiment = ordered({"b3": "run:wide/b3", "v2": None})
    rows = start_rows([training("b3", 0), training("b3", 1), training("v2", 0)], experiment)
    assert rows == [{"model": "b3", "start": "run:wide/b3"}, {"model": "v2", "start": "random weights"}]


def test_nothing_is_said_where_all_began_at_random():
    assert start_rows([training("b3", 0)], ordered({"b3": None})) == []


def test_films_beside_the_folds_are_told_with_their_labels_and_what_each_fold_left_out():
    experiment = ordered({"b3": None}, extra=[{"source": "s3://films/more"}, {"source": "phantom:", "labels": LABELS}])
    own, labelled = {"index": "1"}, {"index": "2", "without": ["a", "b"]}
    rows = extra_rows([training("b3", 0, own, labelled), training("b3", 1, own, {"index": "2"})], experiment)
    assert rows == [
        {"source": "s3://films/more", "labels": "their own label files", "left_out": "–"},
        {
            "source": "phantom: (synthetic)",
            "labels": "run teacher: studies from 0.5, boxes from 0.3, none under 0.05",
            "left_out": "2 in fold 0",
        },
    ]
