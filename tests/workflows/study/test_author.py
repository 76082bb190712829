"""The author's scores in one unit."""

import pytest

from workflows.study.author import AuthorScore, author_score, convert, version


@pytest.mark.parametrize(
    ("score", "unit", "figure", "value"),
    [
        ("3.56", "map4*40/6", "map4", 0.534),
        ("0.395", "map4*4/6", "map4", 0.5925),
        (".5703", "film2*2/3", "film2", 0.85545),
        (".483", "opacity", "opacity", 0.483),
    ],
)
def test_a_score_of_the_log_becomes_one_of_our_figures(score, unit, figure, value):
    assert convert(score, unit) == AuthorScore(figure, pytest.approx(value))


def test_a_row_is_found_by_recipe_and_fold_and_one_without_fold_stands_for_any():
    assert author_score("study-05", 3) == AuthorScore("map4", pytest.approx(0.5475))
    assert author_score("study-05", 2) is None
    assert author_score("study-01", 2) == AuthorScore("map4", pytest.approx(0.534))
    assert author_score("study-16", 0) is None, "the row has no score"
    assert author_score("demo", 0) is None
    assert (version("study-05"), version("yolo-01")) == ("v12", "")
