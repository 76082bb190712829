"""Intervals, folds that stand out, differences beyond noise."""

import numpy as np
import pytest

from jobs.scoring.metric import Detections, Truth, average_precisions, match, mean_ap
from jobs.scoring.statistics.intervals import bootstrap, compare_folds, difference, interval, mean_over_classes

CLASSES = ("yes", "no")
UNIT = (0.0, 0.0, 1.0, 1.0)


def classified(units, skill, seed):
    """A two-class problem: the truth alternates, the score of "yes" is the truth times skill, plus noise."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(units)
    truth = Truth(units, numbers, numbers % 2, np.tile(UNIT, (units, 1)))
    score = skill * (1 - numbers % 2) + rng.normal(size=units)
    found = Detections(
        np.tile(numbers, 2), np.repeat([0, 1], units), np.concatenate([score, -score]), np.tile(UNIT, (2 * units, 1))
    )
    return match(truth, found, CLASSES)


def test_the_same_seed_draws_the_same_patients():
    table, patient = classified(60, 1.0, 1), np.arange(60) // 2
    first, again, other = (bootstrap(table, patient, 20, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_interval_holds_the_score_and_widens_with_fewer_patients():
    widths = []
    for units in (40, 640):
        table = classified(units, 1.5, 1)
        around = interval(mean_over_classes(bootstrap(table, np.arange(units), 200, 1)))
        assert around.low <= mean_ap(average_precisions(table)) <= around.high
        widths.append(around.high - around.low)
    assert widths[0] > 2 * widths[1]


def test_patients_with_many_films_make_an_interval_wider_than_their_films_would():
    """Sixty films of six patients, each patient's films alike: drawing films would promise too much."""
    rng = np.random.default_rng(5)
    units = np.arange(60)
    truth = Truth(60, units, np.zeros(60, dtype=np.int64), np.tile(UNIT, (60, 1)))
    hard = rng.permutation(np.repeat([True, False], 3))[units // 10]
    box = np.where(hard[:, None], (5.0, 5.0, 6.0, 6.0), UNIT)
    table = match(truth, Detections(units, np.zeros(60, dtype=np.int64), rng.random(60), box), CLASSES)
    by_patient, by_film = (interval(bootstrap(table, who, 300, 1)[:, 0]) for who in (units // 10, units))
    assert by_patient.error > 2 * by_film.error


def test_no_interval_where_no_resample_has_a_score():
    assert interval(np.array([np.nan, np.nan, 0.3])) is None


def test_a_fold_far_from_the_others_stands_out():
    verdicts = compare_folds([0.57, 0.58, 0.72, 0.56, 0.58], [0.02] * 5)
    assert [one.outlying for one in verdicts] == [False, False, True, False, False]
    assert verdicts[2].z == pytest.approx((0.72 - 0.5725) / (0.02 * np.sqrt(1.25)))


def test_the_study_logs_sixth_row_is_within_what_its_patients_explain():
    """Rows that "seem wrong" there: 1,210 studies a fold make a standard error near .013, which covers all five."""
    scores = [score * 6 / 4 for score in (0.376, 0.392, 0.385, 0.370, 0.360)]
    assert not any(one.outlying for one in compare_folds(scores, [0.013] * 5))


def test_equal_folds_rarely_stand_out():
    rng = np.random.default_rng(1)
    alarms = [any(v.outlying for v in compare_folds(list(rng.normal(0.5, 0.02, 5)), [0.02] * 5)) for _ in range(400)]
    assert 0.01 < np.mean(alarms) < 0.09


def test_a_few_nearly_perfect_folds_raise_no_alarm():
    """Of 20 answers 9 in 10 are right; a fold of 20 right ones has a bootstrap error of 0 and is no surprise."""
    rng = np.random.default_rng(1)
    shares = rng.binomial(20, 0.9, (400, 5)) / 20
    errors = np.sqrt(shares * (1 - shares) / 20)
    judged = [compare_folds(list(one), list(error)) for one, error in zip(shares, errors, strict=True)]
    assert np.mean([any(v.outlying for v in verdicts) for verdicts in judged]) < 0.05


def test_a_better_set_of_predictions_is_told_from_noise():
    patient = np.arange(300) // 2
    found = difference(classified(300, 0.3, 1), classified(300, 2.0, 1), patient, 200, 1)
    assert found.beyond_noise
    assert found.value > 0.1
    assert found.p < 0.02


def test_the_same_skill_is_no_difference():
    patient = np.arange(300) // 2
    found = difference(classified(300, 1.0, 1), classified(300, 1.0, 2), patient, 200, 1)
    assert not found.beyond_noise
    assert found.p > 0.05


def test_pairing_tells_what_two_intervals_would_not():
    """One in ten scores improved a little: less than either score's interval, yet always on the same side."""
    patient = np.arange(400)
    first, second = classified(400, 1.0, 7), classified(400, 1.15, 7)
    found = difference(first, second, patient, 200, 1)
    alone = interval(mean_over_classes(bootstrap(first, patient, 200, 1)))
    assert found.value < alone.high - alone.low
    assert found.beyond_noise


def test_predictions_for_other_films_are_not_compared():
    with pytest.raises(ValueError, match="same films"):
        difference(classified(10, 1, 1), classified(12, 1, 1), np.arange(10), 10, 1)
