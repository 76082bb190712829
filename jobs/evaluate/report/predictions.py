"""Charts of the report on predictions: precision and recall, reliability, confusion."""

from typing import Any

import numpy as np

from jobs.contract.names import STUDY_CLASSES
from jobs.evaluate.formatting import number
from jobs.evaluate.report.charts import Axis, Series, chart, envelope
from jobs.evaluate.results import Results


def precision_recall(name: str, results: Results) -> dict[str, Any]:
    """Return the chart of precision against recall of a class."""
    recall, precision = results.curves[name]
    lines = [Series(envelope(recall.tolist(), precision.tolist()), name, filled=True)]
    if name != "opacity" or "opacity" not in results.figures:
        units = results.evaluation_set.studies if name in STUDY_CLASSES else results.evaluation_set.films
        share = results.truths[name] / len(units)
        lines.append(Series([(0, share), (1, share)], "chance"))
    drawn = chart(lines, Axis("recall"), Axis("precision"), f"precision against recall of {name}", height=200)
    return {"name": name, "style": name, "score": number(results.classes[name].score), "chart": drawn}


def reliability(name: str, results: Results) -> dict[str, Any]:
    """Return the chart of accuracy against confidence of a class, and its expected calibration error."""
    curve = results.reliability[name]
    radii = 2 + 4 * np.sqrt(curve.count / curve.count.max())
    points = list(zip(curve.confidence.tolist(), curve.accuracy.tolist(), strict=True))
    lines = [Series([(0, 0), (1, 1)], "chance"), Series(points, name, dots=radii.tolist())]
    drawn = chart(lines, Axis("confidence"), Axis("accuracy"), f"reliability of {name}", height=200)
    return {"name": name, "style": name, "error": f"{curve.error:.3f}", "chart": drawn}


def confusion(results: Results) -> dict[str, Any] | None:
    """Return studies by true and most probable class, with each count's share of its row; None without studies."""
    if results.confusion is None:
        return None
    rows = [
        {
            "name": STUDY_CLASSES[true],
            "total": int(counts.sum()),
            "cells": [
                {"count": count, "share": round(count / max(int(counts.sum()), 1), 3), "diagonal": predicted == true}
                for predicted, count in enumerate(counts.tolist())
            ],
        }
        for true, counts in enumerate(results.confusion)
    ]
    return {"classes": STUDY_CLASSES, "rows": rows}
