"""Scores and their intervals as values of JSON, which has no NaN."""

import math
from dataclasses import asdict

from jobs.scoring.statistics.intervals import Interval


def number(value: float) -> float | None:
    """Return a score, or None where there is none."""
    return value if math.isfinite(value) else None


def bounds(around: Interval | None) -> dict[str, float] | None:
    """Return an interval's ends and error by name, or None where none was computed."""
    return None if around is None else asdict(around)
