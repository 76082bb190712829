"""Scores of the report: figures, classes and folds as rows, with places on a strip."""

import math
from collections.abc import Sequence
from typing import Any

from jobs.evaluate.formatting import DASH, number
from jobs.evaluate.results import FoldResult, Results, ScoreSummary


def figure_row(name: str, summary: ScoreSummary) -> dict[str, Any]:
    """Return a figure with its interval, its gain over untrained nets, and their places on a strip in percent."""
    row: dict[str, Any] = {
        "name": name,
        "style": name,
        "score": number(summary.score),
        "untrained": number(summary.untrained),
        "at": percent(summary.score),
        "untrained_at": percent(summary.untrained),
        "low": "",
        "width": None,
        "gain": "",
    }
    if summary.interval:
        low, high = summary.interval.low, summary.interval.high
        row |= {"low": number(low), "high": number(high), "low_at": percent(low), "width": percent(high - low)}
    if summary.gain:
        p = summary.gain.p
        row |= {
            "gain": f"{summary.gain.value:+.3f}",
            "beyond_noise": summary.gain.beyond_noise,
            "p": "p < 0.01" if p < 0.01 else f"p = {p:.2f}",
        }
    return row


def class_row(name: str, summary: ScoreSummary, results: Results) -> dict[str, Any]:
    """Return a class as :func:`figure_row` does, with how many labels of it there are."""
    return {**figure_row(name, summary), "truths": results.truths[name]}


def range_of(folds: Sequence[FoldResult]) -> tuple[float, float]:
    """Return the smallest range of whole tenths that holds all folds' scores and intervals, for the axis."""
    ends = [end for fold in folds for end in _fold_ends(fold) if math.isfinite(end)]
    if not ends:
        return 0.0, 1.0
    return math.floor(min(ends) * 10) / 10, max(math.ceil(max(ends) * 10), math.floor(min(ends) * 10) + 1) / 10


def _fold_ends(fold: FoldResult) -> tuple[float, float]:
    reach = 1.96 * fold.error if math.isfinite(fold.error) else 0.0
    return max(fold.score - reach, 0.0), min(fold.score + reach, 1.0)


def fold_row(fold: FoldResult, left: float, right: float) -> dict[str, Any]:
    """Return a fold with its score, standard error and classes, and places on a strip from ``left`` to ``right``."""

    def place(value: float) -> float | None:
        return percent((value - left) / (right - left))

    row: dict[str, Any] = {
        "fold": fold.fold,
        "score": number(fold.score),
        "error": number(fold.error) if math.isfinite(fold.error) else "",
        "at": place(fold.score),
        "width": None,
        "z": f"{fold.comparison.z:+z.1f}" if fold.comparison else DASH,
        "outlying": bool(fold.comparison and fold.comparison.outlying),
        "aps": [number(ap) for ap in fold.aps.values()],
        "left_out": ", ".join(fold.left_out),
        "patients": fold.patients,
        "studies": fold.studies,
        "films": fold.films,
    }
    if math.isfinite(fold.score) and math.isfinite(fold.error):
        low, high = _fold_ends(fold)
        row |= {"low_at": place(low), "width": percent((high - low) / (right - left))}
    return row


def class_means(folds: Sequence[FoldResult]) -> list[str]:
    """Return the mean over folds of each class, over those folds that have ground truth of it."""
    if not folds:
        return []
    columns = [[fold.aps[name] for fold in folds if math.isfinite(fold.aps[name])] for name in folds[0].aps]
    return [number(sum(values) / len(values)) if values else DASH for values in columns]


def percent(value: float) -> float | None:
    """Return a fraction in percent; None where it is not finite."""
    return round(100 * value, 2) if math.isfinite(value) else None
