"""Variation between training seeds, compared with variation between patients."""

import pytest

from tests.workflows.study.stored import store_run, studied
from workflows.study import comparison
from workflows.study.collect import collect
from workflows.study.comparison import Comparison, compare_with_parents
from workflows.study.seeds import same_training, seed_ranges
from workflows.study.table import notes


@pytest.fixture
def entries(s3_store):
    """One setting with three seeds, another figure with two, one setting of its own."""
    scores = {1: 0.60, 2: 0.64, 3: 0.57}
    runs = [store_run(s3_store, studied(f"s{seed}", seed=seed), [score]) for seed, score in scores.items()]
    runs += [store_run(s3_store, studied("alone", classifiers={"b3": {"dropout": 0.5}}), [0.9])]
    runs += [store_run(s3_store, studied(f"f{seed}", seed=seed), [0.8], figure="film2") for seed in (4, 5)]
    return [collect(s3_store, run) for run in runs]


def test_how_far_seeds_of_one_setting_lie_apart_is_found_by_figure(entries):
    assert seed_ranges(entries) == {"map4": pytest.approx(0.07), "film2": 0.0}
    assert seed_ranges(entries[2:5]) == {}
    assert "seeds move map4 by up to 0.070, film2 by up to 0.000" in notes(entries)[1]
    assert "no setting here has several seeds" in notes(entries[3:4])[1]


def test_what_changes_after_training_shares_its_trainings():
    base = studied("base").experiment
    assert same_training(base, studied("top", ensemble={"labels": "top"}, folds=2).experiment)
    assert same_training(base, studied("larger", classifiers={"b3": {"inference": {"size": 640}}}).experiment)
    for change in ({"seed": 2}, {"classifiers": {"b3": {"batch": 4}}}, {"data": {"siblings": "drop"}}):
        assert not same_training(base, studied("other", **change).experiment)


def test_a_difference_knows_what_a_seed_does_unless_nothing_was_trained_anew(s3_store, entries, monkeypatch):
    first = entries[0].studied
    children = [
        store_run(s3_store, studied("dropped", first.run, classifiers={"b3": {"dropout": 0.4}}), [0.7]),
        store_run(s3_store, studied("top", first.run, ensemble={"labels": "top"}), [0.5]),
    ]
    monkeypatch.setattr(
        comparison, "_compare", lambda run, parent, scored: Comparison(parent, "map4", 0.05, 0.01, 0.09, 0.01, True)
    )
    dropped, top = (
        compare_with_parents([*entries, *(collect(s3_store, child) for child in children)])[child.run]
        for child in children
    )
    assert (dropped.seeds, dropped.within_noise) == (pytest.approx(0.07), True)
    assert (top.seeds, top.within_noise) == (0.0, False)


@pytest.mark.parametrize(
    ("beyond", "seeds", "verdict"),
    [
        (False, 0.01, "within noise"),
        (True, None, "more than patients' noise; seeds not tried"),
        (True, 0.06, "more than patients' noise; a seed does as much"),
        (True, 0.04, "more than noise"),
        (True, 0.0, "more than noise"),
    ],
)
def test_a_difference_is_more_than_noise_when_neither_patients_nor_a_seed_could_undo_it(beyond, seeds, verdict):
    assert Comparison("parent", "map4", -0.05, -0.1, 0.02, 0.04, beyond, seeds).verdict == verdict
