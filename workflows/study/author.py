"""The author's own scores, from ``study_log.csv``, in the units of the metric's own figures."""

import csv
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from workflows.settings.recipes import EXPERIMENTS


@dataclass(frozen=True)
class Score:
    """What the log says an experiment scored.

    Attributes:
        figure: ``map4``, ``film2`` or ``opacity``.
        value: between 0 and 1, as that figure is defined here.
    """

    figure: str
    value: float


@cache
def version(recipe: str) -> str:
    """The author's number of a row's version, e.g. ``v12``; empty where the row has none."""
    return next((row["version"] for row in _rows() if row["recipe"] == recipe), "")


@cache
def author_score(recipe: str, fold: int) -> Score | None:
    """What the log's row scored on a fold, or without saying on which; None where it has no such score."""
    rows = [row for row in _rows() if row["recipe"] == recipe and row["score"]]
    row = next((row for row in rows if row["fold"] in ("", str(fold))), None)
    return convert(row["score"], row["unit"]) if row else None


def convert(score: str, unit: str) -> Score:
    """A score of the log in the figure's own unit.

    The log's study scores are map4 as a share of all six classes, ``map4*4/6``, at first times ten; its scores of none
    and opacity are ``film2*2/3``.
    """
    figure, _, factor = unit.partition("*")
    return Score(figure, float(Fraction(score) / Fraction(factor or 1)))


@cache
def _rows() -> tuple[dict[str, str], ...]:
    text = (EXPERIMENTS / "study_log.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
