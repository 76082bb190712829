"""The ranking of detections beside numpy's stable sort."""

import numpy as np
import pytest

from jobs.scoring.kernels import rank

DRAWN = {
    "far apart": lambda rng, n: rng.random(n),
    "alike in 24 bits, not in all": lambda rng, n: 0.5 + rng.integers(0, 9, n) * 1e-12,
    "many ties": lambda rng, n: rng.integers(0, 5, n) / 5,
    "zeros of both signs": lambda rng, n: rng.choice([0.0, -0.0], n),
    "negative": lambda rng, n: -rng.random(n),
}


@pytest.mark.parametrize("drawn", DRAWN)
@pytest.mark.parametrize("n", [0, 1, 300])
def test_detections_are_ranked_within_their_class_and_ties_keep_their_order(drawn: str, n: int) -> None:
    rng = np.random.default_rng(1)
    label, confidence = rng.integers(0, 3, n), DRAWN[drawn](rng, n)
    order, starts = rank(label, confidence, 3)
    for one in range(3):
        own = np.flatnonzero(label == one)
        assert np.array_equal(order[starts[one] : starts[one + 1]], own[np.argsort(-confidence[own], kind="stable")])


def test_confidences_in_rising_steps_too_small_for_24_bits_take_no_square_of_their_number() -> None:
    confidence = 0.5 + np.arange(300_000) * 1e-13  # an insertion sort takes more than a minute
    order, _ = rank(np.zeros(len(confidence), np.int64), confidence, 1)
    assert np.array_equal(order, np.arange(len(confidence))[::-1])
