"""Charts and words of the report."""

from itertools import pairwise

import pytest

from jobs.evaluate.formatting import memory, number
from jobs.evaluate.report.charts import Axis, Series, chart, envelope, thinned, ticks


def test_the_envelope_is_a_step_line_that_falls_only():
    corners = envelope([0.25, 0.5, 1.0], [0.5, 1.0, 0.75])
    assert corners == [(0.0, 1.0), (0.5, 1.0), (0.5, 0.75), (1.0, 0.75), (1.0, 0.0)]


def test_the_area_under_the_envelope_is_the_average_precision():
    recall, precision = [n / 8 for n in range(1, 7)], [1, 0.5, 0.6, 0.8, 0.5, 0.4]
    corners = envelope(recall, precision)
    area = sum((b[0] - a[0]) * a[1] for a, b in pairwise(corners))
    assert area == pytest.approx(sum(max(precision[n:]) / 8 for n in range(6)))


def test_nothing_found_draws_nothing():
    assert envelope([], []) == []
    assert "<path" not in chart([Series([], "none")], Axis("recall"), Axis("precision"), "none")


def test_thinning_keeps_both_ends():
    points = [(float(n), 0.0) for n in range(1000)]
    few = thinned(points, 100)
    assert len(few) <= 102
    assert (few[0], few[-1]) == (points[0], points[-1])


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [(1, 10, [2, 4, 6, 8, 10]), (1, 3, [1, 1.5, 2, 2.5, 3]), (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1])],
)
def test_ticks_are_round(low, high, marks):
    assert ticks(low, high) == pytest.approx(marks)


def test_labels_cannot_break_out_of_the_chart():
    assert "<b>" not in chart([], Axis("<b>x</b>"), Axis("y"), '"><b>')


def test_numbers_are_said_as_a_person_would():
    assert [number(0.12345), number(float("nan"))] == ["0.123", "–"]
    assert [memory(n) for n in (0, 300 << 20, 3 << 30)] == ["–", "300 MiB", "3.0 GiB"]
