"""The report's section on a search for settings: what each candidate scored, what the best changed."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from markupsafe import Markup

from jobs.contract import layout
from jobs.evaluate.charts import Axis, Line, chart, ticks
from jobs.evaluate.history import TaskHistory
from jobs.evaluate.words import number


def searches(trained: Sequence[TaskHistory], run: str) -> list[dict[str, Any]]:
    """A chart a model: the score of each fold's candidates, and the best so far; a row a fold beside it.

    Args:
        trained: the training tasks.
        run: the run's name.
    """
    models: dict[str, list[TaskHistory]] = {}
    for task in trained:
        if task.id.model and task.candidates:
            models.setdefault(task.id.model, []).append(task)
    return [
        {"model": name, "chart": _drawn(folds), "folds": [_row(task, run) for task in folds]}
        for name, folds in models.items()
    ]


def _drawn(folds: Sequence[TaskHistory]) -> Markup:
    lines: list[Line] = []
    for task in folds:
        scores = [float(one["score"]) for one in task.candidates]
        best = list(accumulate(scores, max))
        steps = [(place + 1.0, height) for place in range(len(best)) for height in best[max(place - 1, 0) : place + 1]]
        lines.append(Line(steps, "mean validation"))
        lines += [Line([(place, score)], "fold", dots=[3]) for place, score in enumerate(scores, 1)]
    last = max(len(task.candidates) for task in folds)
    across = Axis("candidate", 1, last, [mark for mark in ticks(1, last) if mark == int(mark)])
    return chart(lines, across, Axis("score"), "score by candidate", width=400, height=230)


def _row(task: TaskHistory, run: str) -> dict[str, Any]:
    assert task.id.model is not None
    assert task.id.fold is not None
    scores = [float(one["score"]) for one in task.candidates]
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
