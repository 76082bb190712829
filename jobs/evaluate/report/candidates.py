"""The report's section on searches for settings: each candidate's score, and what the best one changed."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from markupsafe import Markup

from jobs.contract.stored import layout
from jobs.evaluate.formatting import number
from jobs.evaluate.history import TaskHistory, by_model
from jobs.evaluate.report.charts import Series, score_chart


def searches(trained: Sequence[TaskHistory], run: str) -> list[dict[str, Any]]:
    """Return a chart per model (each fold's candidates and the best so far) and a row per fold.

    Args:
        trained: the training tasks.
        run: the run's name.
    """
    searched = by_model(task for task in trained if task.candidates)
    return [
        {"model": name, "chart": _chart(folds), "folds": [_row(task, run) for task in folds]}
        for name, folds in searched.items()
    ]


def _chart(folds: Sequence[TaskHistory]) -> Markup:
    lines: list[Series] = []
    for task in folds:
        scores = [float(candidate["score"]) for candidate in task.candidates]
        best = list(accumulate(scores, max))
        steps = [(place + 1.0, height) for place in range(len(best)) for height in best[max(place - 1, 0) : place + 1]]
        lines.append(Series(steps, "mean validation"))
        lines += [Series([(place, score)], "fold", dots=[3]) for place, score in enumerate(scores, 1)]
    last = max(len(task.candidates) for task in folds)
    return score_chart(lines, "candidate", last)


def _row(task: TaskHistory, run: str) -> dict[str, Any]:
    assert task.id.model is not None
    assert task.id.fold is not None
    scores = [float(candidate["score"]) for candidate in task.candidates]
    place = scores.index(max(scores))
    return {
        "fold": task.id.fold,
        "start": number(scores[0]),
        "best": number(scores[place]),
        "gain": f"{scores[place] - scores[0]:+.3f}",
        "candidate": place + 1,
        "candidates": len(scores),
        "changed": _changed(task.candidates[0]["settings"], task.candidates[place]["settings"]),
        "file": layout.recipe(run, task.id.model, task.id.fold).rsplit("/", 1)[-1],
        "recipe": task.recipe,
    }


def _changed(start: Mapping[str, float], best: Mapping[str, float]) -> list[str]:
    return [f"{field} {value:g} → {best[field]:g}" for field, value in start.items() if best[field] != value]
