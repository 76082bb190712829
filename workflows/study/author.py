"""The author's scores from ``study_log.csv``, converted to the figures that this pipeline computes."""

import csv
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from workflows.settings.recipes import EXPERIMENTS


@dataclass(frozen=True)
class AuthorScore:
    """A score from the author's log.

    Attributes:
        figure: ``map4``, ``film2`` or ``opacity``.
        value: between 0 and 1, converted to that figure.
    """

    figure: str
    value: float


@cache
def version(recipe: str) -> str:
    """The author's version number of a recipe's row, e.g. ``v12``; empty if it has none."""
    return next((row["version"] for row in _rows() if row["recipe"] == recipe), "")


@cache
def author_score(recipe: str, fold: int) -> AuthorScore | None:
    """The log's score of a recipe on a fold; a row without a fold applies to all folds. None if there is none."""
    rows = [row for row in _rows() if row["recipe"] == recipe and row["score"]]
    row = next((row for row in rows if row["fold"] in ("", str(fold))), None)
    return convert(row["score"], row["unit"]) if row else None


def convert(score: str, unit: str) -> AuthorScore:
    """Convert a score of the log to the figure it is a multiple of.

    The log gives study scores as map4 × 4/6 (``map4*4/6``; in early rows ten times that) and scores of none and
    opacity as film2 × 2/3 (``film2*2/3``).
    """
    figure, _, factor = unit.partition("*")
    return AuthorScore(figure, float(Fraction(score) / Fraction(factor or 1)))


@cache
def _rows() -> tuple[dict[str, str], ...]:
    text = (EXPERIMENTS / "study_log.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
