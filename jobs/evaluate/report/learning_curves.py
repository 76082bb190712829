"""The report's learning curves: training and validation scores, the best and the last epoch."""

import math
from collections.abc import Sequence
from typing import Any, Final

from jobs.contract.experiment import Experiment
from jobs.evaluate.formatting import DASH, number
from jobs.evaluate.history import TaskHistory, by_model
from jobs.evaluate.report.charts import Series, score_chart, thinned

GAINS: Final = {"size": "inference size adds", "tta": "TTA adds"}


def learning_curves(trained: Sequence[TaskHistory], experiment: Experiment) -> list[dict[str, Any]]:
    """Return a chart per model: each fold's scores by epoch as thin lines, their mean as a thick one.

    Args:
        trained: the training tasks.
        experiment: the experiment, for the figure that each model's epochs are scored by.
    """
    models = by_model(task for task in trained if task.best)
    return [{**_curves(folds), "model": name, "measure": _measure(experiment, name)} for name, folds in models.items()]


def _measure(experiment: Experiment, model: str) -> str:
    """Return the figure that a model's epochs are scored by."""
    figure = experiment.models[model].figure
    return f"{figure}{' AP' if figure == 'opacity' else ''} of the fold"


def _curves(folds: Sequence[TaskHistory]) -> dict[str, Any]:
    lines: list[Series] = []
    for key, style in (("train_score", "training"), ("val_score", "validation")):
        runs = [_scores(task, key) for task in folds]
        lines += [Series(thinned(points), f"fold {style}") for points in runs]
        lines.append(Series(thinned(_mean_line(runs)), f"mean {style}"))
    best = [(float(task.best["epoch"]) + 1, float(task.best["val_score"])) for task in folds if task.best]
    lines += [Series([point], "fold", dots=[3]) for point in best]
    last = max(2, *(len(task.epochs) for task in folds))
    rows = [_row(task) for task in folds]
    gaps = [row["gap"] for row in rows if row["gap"] is not None]
    return {
        "chart": score_chart(lines, "epoch", last),
        "best": number(_mean([row["best_score"] for row in rows])),
        "last": number(_mean([row["last_score"] for row in rows])),
        "gap": f"{_mean(gaps):+.3f}" if gaps else "",
        "folds": rows,
        "gains": {GAINS[option]: [f"{task.gains[option]:+.3f}" for task in folds] for option in folds[0].gains},
    }


def _row(task: TaskHistory) -> dict[str, Any]:
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
    """Return the mean of several lines, up to the end of the shortest."""
    of_epoch: dict[float, list[float]] = {}
    for points in runs:
        for epoch, score in points:
            of_epoch.setdefault(epoch, []).append(score)
    return [(epoch, _mean(scores)) for epoch, scores in sorted(of_epoch.items()) if len(scores) == len(runs)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
