"""The report's learning curves: training beside validation, best epoch beside last."""

import math
from collections.abc import Sequence
from typing import Any, Final

from jobs.contract.experiment import Experiment
from jobs.evaluate.charts import Axis, Line, chart, thinned, ticks
from jobs.evaluate.history import TaskHistory
from jobs.evaluate.words import DASH, number

WORTH: Final = {"size": "inference size adds", "tta": "TTA adds"}


def learning(trained: Sequence[TaskHistory], experiment: Experiment) -> list[dict[str, Any]]:
    """A chart a model: its folds' scores by epoch, thin, and their mean, thick.

    Args:
        trained: the training tasks.
        experiment: says what a model's epochs are scored by.
    """
    models: dict[str, list[TaskHistory]] = {}
    for task in trained:
        if task.id.model and task.best:
            models.setdefault(task.id.model, []).append(task)
    return [
        {**_learning_of(folds), "model": name, "measure": _measure(experiment, name)} for name, folds in models.items()
    ]


def _measure(experiment: Experiment, model: str) -> str:
    """What a model's epochs are scored by."""
    figure = experiment.models[model].figure
    return f"{figure}{' AP' if figure == 'opacity' else ''} of the fold"


def _learning_of(folds: Sequence[TaskHistory]) -> dict[str, Any]:
    lines: list[Line] = []
    for key, style in (("train_score", "training"), ("val_score", "validation")):
        runs = [_scores(task, key) for task in folds]
        lines += [Line(thinned(points), f"fold {style}") for points in runs]
        lines.append(Line(thinned(_mean_line(runs)), f"mean {style}"))
    best = [(float(task.best["epoch"]) + 1, float(task.best["val_score"])) for task in folds if task.best]
    lines += [Line([point], "fold", dots=[3]) for point in best]
    last = max(2, *(len(task.epochs) for task in folds))
    rows = [_learnt(task) for task in folds]
    gaps = [row["gap"] for row in rows if row["gap"] is not None]
    across = Axis("epoch", 1, last, ticks(1, last))
    return {
        "chart": chart(lines, across, Axis("score"), "score by epoch", width=400, height=230),
        "best": number(_mean([row["best_score"] for row in rows])),
        "last": number(_mean([row["last_score"] for row in rows])),
        "gap": f"{_mean(gaps):+.3f}" if gaps else "",
        "folds": rows,
        "worth": {WORTH[choice]: [f"{task.worth[choice]:+.3f}" for task in folds] for choice in folds[0].worth},
    }


def _learnt(task: TaskHistory) -> dict[str, Any]:
    assert task.best is not None
    assert task.last is not None
    best, train, last = float(task.best["val_score"]), task.best.get("train_score"), task.last.get("val_score")
    return {
        "fold": task.id.fold,
        "best": number(best),
        "epoch": int(task.best["epoch"]) + 1,
        "train": number(float(train)) if train is not None else DASH,
        "last": number(float(last)) if last is not None else DASH,
        "best_score": best,
        "last_score": float(last) if last is not None else math.nan,
        "gap": float(train) - best if train is not None else None,
    }


def _scores(task: TaskHistory, key: str) -> list[tuple[float, float]]:
    return [(float(epoch["epoch"]) + 1, float(epoch[key])) for epoch in task.epochs if epoch.get(key) is not None]


def _mean_line(runs: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """The mean of lines, as far as all of them go."""
    of_epoch: dict[float, list[float]] = {}
    for points in runs:
        for epoch, score in points:
            of_epoch.setdefault(epoch, []).append(score)
    return [(epoch, _mean(scores)) for epoch, scores in sorted(of_epoch.items()) if len(scores) == len(runs)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
