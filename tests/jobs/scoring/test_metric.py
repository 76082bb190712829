"""The metric against a plain, slow reading of its definition."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.scoring.metric import (
    Detections,
    Truth,
    average_precisions,
    falling,
    left_out,
    match,
    mean_ap,
    precision_recall,
)

CLASSES = ("a", "b")


def truth_of(units, rows):
    rows = sorted(rows, key=lambda row: row[0])
    return Truth(
        units,
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 4),
    )


def detections_of(rows):
    return Detections(
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[3] for row in rows], dtype=np.float64),
        np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 4),
    )


def plain_iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = Fraction(width) * Fraction(height) if width > 0 and height > 0 else Fraction(0)

    def area(box):
        return Fraction(box[2] - box[0]) * Fraction(box[3] - box[1])

    whole = area(a) + area(b) - shared
    return shared / whole if whole else Fraction(0)


def plain_ap(truths, found):
    """AP of one class in exact arithmetic, from rows (unit, box) and (unit, box, confidence)."""
    if not truths:
        return math.nan
    claimed, right = set(), []
    for unit, box, _ in sorted(found, key=lambda row: -row[2]):  # Python's sort is stable: ties stay in input order
        here = [(plain_iou(box, other), -number) for number, (where, other) in enumerate(truths) if where == unit]
        iou, number = max(here, default=(Fraction(0), 0))
        right.append(iou > Fraction(1, 2) and number not in claimed)
        if right[-1]:
            claimed.add(number)
    precision = [Fraction(sum(right[: n + 1]), n + 1) for n in range(len(right))]
    return float(sum(max(precision[n:]) for n, hit in enumerate(right) if hit) / len(truths))


# Whole numbers in a small field make ties, exact halves and several claims on one truth common.
edges = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 4), st.integers(1, 4))
boxes = edges.map(lambda e: (e[0], e[1], e[0] + e[2], e[1] + e[3]))
truth_rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), boxes), max_size=10)
found_rows = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 1), boxes, st.sampled_from([0.1, 0.5, 0.5, 0.9, 1.0])), max_size=25
)


@settings(max_examples=150, deadline=None)
@given(truth_rows, found_rows)
def test_average_precision_is_what_the_definition_says(truths, found):
    truths = sorted(truths, key=lambda row: row[0])
    aps = average_precisions(match(truth_of(4, truths), detections_of(found), CLASSES))
    for label, name in enumerate(CLASSES):
        wanted = plain_ap(
            [(unit, box) for unit, of, box in truths if of == label],
            [(unit, box, confidence) for unit, of, box, confidence in found if of == label],
        )
        assert aps[name] == pytest.approx(wanted, abs=1e-12, nan_ok=True)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(
    truth_rows,
    st.lists(st.tuples(st.integers(0, 3), boxes), max_size=15),
    st.lists(st.integers(0, 3), min_size=4, max_size=4),
    st.randoms(),
)
def test_a_weight_is_as_good_as_so_many_copies(truths, found, weights, random):
    """Copies of units, scored the plain way, equal weights on one match table (scores distinct between units)."""
    confidence = list(range(1, len(found) + 1))
    random.shuffle(confidence)
    found = [(unit, 0, box, score) for (unit, box), score in zip(found, confidence, strict=True)]
    truths = [(unit, 0, box) for unit, _, box in sorted(truths, key=lambda row: row[0])]
    table = match(truth_of(4, truths), detections_of(found), CLASSES)
    copies = [(unit, copy) for unit in range(4) for copy in range(weights[unit])]
    wanted = plain_ap(
        [((unit, copy), box) for unit, copy in copies for of, _, box in truths if of == unit],
        [((unit, copy), box, score) for unit, copy in copies for of, _, box, score in found if of == unit],
    )
    got = average_precisions(table, np.array(weights, dtype=np.float64))["a"]
    assert got == pytest.approx(wanted, abs=1e-12, nan_ok=True)
    by_patient = table.grouped(np.array([0, 0, 1, 1]))
    pair = np.array([weights[0], weights[2]], dtype=np.float64)
    assert average_precisions(by_patient, pair)["a"] == pytest.approx(
        average_precisions(table, pair[[0, 0, 1, 1]])["a"], nan_ok=True
    )


# Some differ in the last bits only, which the quick sort by the leading bits leaves to the insertion sort.
@given(st.lists(st.sampled_from([0.0, -0.0, -1.0, 0.25, 0.25 + 2**-50, 0.25 + 2**-49, 0.5, 2.0]), max_size=40))
def test_falling_is_a_stable_sort(values):
    array = np.array(values)
    assert falling(array).tolist() == sorted(range(len(values)), key=lambda i: -values[i])


def test_an_overlap_of_exactly_one_half_is_a_miss():
    truth = truth_of(1, [(0, 0, (0, 0, 2, 1))])
    half, more = (0, 0, 1, 1), (0, 0, 1.0000001, 1)
    assert average_precisions(match(truth, detections_of([(0, 0, half, 1)]), CLASSES))["a"] == 0
    assert average_precisions(match(truth, detections_of([(0, 0, more, 1)]), CLASSES))["a"] == 1


def test_a_second_hit_on_a_truth_is_a_false_positive_even_where_another_truth_is_free():
    """VOC sends a detection to the truth it overlaps most, claimed or not; COCO would give it the free one."""
    truth = truth_of(1, [(0, 0, (0, 0, 10, 10)), (0, 0, (3, 0, 13, 10))])
    found = detections_of([(0, 0, (0, 0, 10, 10), 0.9), (0, 0, (1, 0, 11, 10), 0.8)])
    assert average_precisions(match(truth, found, CLASSES))["a"] == pytest.approx(0.5)


def test_ties_rank_in_input_order():
    truth = truth_of(2, [(1, 0, (0, 0, 1, 1))])
    wrong, right = (0, 0, (0, 0, 1, 1), 0.5), (1, 0, (0, 0, 1, 1), 0.5)
    assert average_precisions(match(truth, detections_of([right, wrong]), CLASSES))["a"] == 1
    assert average_precisions(match(truth, detections_of([wrong, right]), CLASSES))["a"] == 0.5


def test_a_class_without_truth_has_no_part_in_the_mean_and_is_named():
    aps = average_precisions(
        match(truth_of(1, [(0, 0, (0, 0, 1, 1))]), detections_of([(0, 0, (0, 0, 1, 1), 1)]), CLASSES)
    )
    assert mean_ap(aps) == 1
    assert left_out(aps) == ["b"]
    assert math.isnan(mean_ap(aps, ["b"]))


def test_a_class_nobody_predicts_scores_nothing():
    aps = average_precisions(match(truth_of(1, [(0, 0, (0, 0, 1, 1))]), detections_of([]), CLASSES))
    assert aps["a"] == 0


def test_an_unfinite_number_is_refused():
    with pytest.raises(ValueError, match="finite"):
        match(truth_of(1, []), detections_of([(0, 0, (0, 0, 1, 1), math.nan)]), CLASSES)


def test_precision_and_recall_are_those_at_each_hit():
    truth = truth_of(2, [(0, 0, (0, 0, 1, 1)), (1, 0, (0, 0, 1, 1))])
    unit = (0, 0, 1, 1)
    table = match(truth, detections_of([(0, 0, unit, 0.9), (0, 0, unit, 0.8), (1, 0, unit, 0.7)]), CLASSES)
    recall, precision = precision_recall(table.ranked[0])
    assert recall.tolist() == [0.5, 1.0]
    assert precision.tolist() == pytest.approx([1.0, 2 / 3])
