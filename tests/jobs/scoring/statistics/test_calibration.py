"""Calibration and confusion."""

import numpy as np
import pytest

from jobs.scoring.statistics.calibration import confusion, reliability


def test_confidences_that_mean_what_they_say_have_no_error():
    curve = reliability(np.array([0.25] * 4 + [0.75] * 4), np.array([1, 0, 0, 0, 1, 1, 1, 0], dtype=bool))
    assert curve.confidence.tolist() == [0.25, 0.75]
    assert curve.accuracy.tolist() == [0.25, 0.75]
    assert curve.error == 0


def test_overconfidence_is_an_error_weighted_by_count():
    curve = reliability(np.array([1.0, 1.0, 1.0, 0.0]), np.array([True, False, False, False]))
    assert curve.count.tolist() == [1, 3]
    assert curve.error == pytest.approx((3 * (1 - 1 / 3) + 0) / 4)


def test_no_predictions_make_no_curve():
    assert reliability(np.zeros(0), np.zeros(0, dtype=bool)) is None


def test_confusion_has_the_truth_in_its_rows():
    assert confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist() == [[1, 1], [0, 1]]
