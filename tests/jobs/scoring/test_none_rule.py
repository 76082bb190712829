"""The none rule."""

import numpy as np
import pytest

from jobs.contract.exits import BadInput
from jobs.scoring.none_rule import highest_confidence, none_probability

WEIGHTS = {"boxes": 0.5, "negative": 0.25, "film2": 0.25}


def test_highest_confidence_of_a_film_without_boxes_is_nothing():
    assert highest_confidence(np.array([0, 2, 2]), np.array([0.3, 0.2, 0.9]), 3).tolist() == [0.3, 0.0, 0.9]


def test_sources_are_weighed():
    sources = {"boxes": np.array([1.0]), "negative": np.array([0.5]), "film2": np.array([0.0])}
    assert none_probability(sources, WEIGHTS).tolist() == pytest.approx([0.625])


def test_a_source_that_the_run_lacks_is_left_out_of_the_mean():
    assert none_probability({"negative": np.array([0.7])}, WEIGHTS).tolist() == pytest.approx([0.7])


def test_sources_that_all_weigh_nothing_are_refused():
    with pytest.raises(BadInput, match="gives boxes weight 0"):
        none_probability({"boxes": np.array([1.0])}, {**WEIGHTS, "boxes": 0.0})
