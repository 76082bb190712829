"""The search for the ensemble's settings: what it chooses, and that its score is of patients it did not choose on."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from jobs import ensemble, evaluate
from jobs.contract.exits import BadInput
from jobs.contract.experiment import Ensemble
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Reference
from jobs.contract.task import TaskId
from jobs.ensemble.search import apply, compare, nested, patient_groups, search
from jobs.scoring.combine import Voter, combine, together
from jobs.scoring.searched import cost_text, search_text
from jobs.scoring.submission import render
from tests.jobs.ensemble.world import boxes_table, experiment, films_table, index

FILMS = index(patients=40)
GREEDY = Ensemble(search="greedy")


def voters(*skills: float) -> list[Voter]:
    return [Voter(f"c{number}", 1.0, films_table(FILMS, skill, number)) for number, skill in enumerate(skills)]


def boxes(*skills: float) -> list[Voter]:
    return [Voter(f"d{number}", 1.0, boxes_table(FILMS, skill, 50 + number)) for number, skill in enumerate(skills)]


def only(every: list[Voter], rows: pd.DataFrame) -> list[Voter]:
    """The voters' predictions of some films."""
    return [replace(voter, table=voter.table[voter.table["image"].isin(rows["image"])]) for voter in every]


@pytest.mark.slow
def test_a_model_of_pure_noise_gets_no_weight():
    classifiers, detectors = voters(2.0, 0.0), boxes(0.95, 0.05)
    found = search(FILMS, classifiers, detectors, GREEDY, seed=1)
    assert (found.settings.weights["c1"], found.settings.weights["d1"]) == (0, 0)
    score = compare(FILMS, classifiers, detectors, found, GREEDY, "map6", 50, 1)
    assert score["naive"] >= score["nested"] > score["plain"]


@pytest.mark.slow
def test_of_models_that_are_all_alike_the_nested_gain_is_within_noise():
    alike = [replace(voter, name=f"c{number}") for number, voter in enumerate([*voters(0.3)] * 3)]
    found = search(FILMS, alike, boxes(0.6), GREEDY, seed=1)
    gain = compare(FILMS, alike, boxes(0.6), found, GREEDY, "map6", 200, 1)["gain"]
    assert gain["low"] <= 0.01
    assert abs(gain["difference"]) < 0.05


@pytest.mark.slow
def test_each_film_is_combined_with_what_was_chosen_without_its_patient():
    classifiers, detectors = voters(0.5, 0.4), boxes(0.7, 0.6)
    found = search(FILMS, classifiers, detectors, GREEDY, seed=1)
    assert len(found.without) == 5
    groups = dict(zip(FILMS["patient"], found.group, strict=True))
    assert all(groups[patient] == number for patient, number in zip(FILMS["patient"], found.group, strict=True))
    # Were a group's own labels used, changing them would change its settings.
    changed = FILMS.copy()
    own = found.group == 0
    changed.loc[own, "study_class"] = changed.loc[own, "study_class"].iloc[::-1].to_numpy()
    assert search(changed, classifiers, detectors, GREEDY, seed=1).without[0] == found.without[0]
    rows = FILMS[own]
    part = nested(FILMS, classifiers, detectors, found)
    alone = apply(rows, only(classifiers, rows), only(detectors, rows), found.without[0]).submission
    row = part.submission.ids.index(alone.ids[0])
    expected = alone.detections.confidence[alone.detections.unit == 0]
    assert np.array_equal(part.submission.detections.confidence[part.submission.detections.unit == row], expected)


def test_parts_put_together_are_the_whole():
    classifiers, detectors = voters(0.5), boxes(0.7)
    whole = combine(FILMS, classifiers, detectors, Ensemble())
    parts = []
    for number in range(3):
        rows = FILMS[FILMS["group"] % 3 == number]
        own = [
            replace(one, table=one.table[one.table["image"].isin(rows["image"])]) for one in (*classifiers, *detectors)
        ]
        parts.append(combine(rows, own[:1], own[1:], Ensemble()))
    assert render(together(parts).submission) == render(whole.submission)


def test_patients_and_near_duplicates_stay_in_one_group_and_one_patient_is_too_few():
    groups = patient_groups(FILMS, seed=3)
    assert all(len(set(groups[FILMS["group"] == one])) == 1 for one in FILMS["group"].unique())
    assert np.bincount(groups).min() > 0
    with pytest.raises(BadInput, match="at least two patients"):
        patient_groups(FILMS[FILMS["group"] == 0], seed=3)


FOUND = {
    "figure": "map6", "plain": 0.5, "naive": 0.56, "nested": 0.55,
    "gain": {"difference": 0.05, "low": 0.01, "high": 0.09},
    "settings": {"weights": {"b3": 0.0, "v2": 2.0}}, "seconds_a_film": {"b3": 1.5, "v2": 0.25, "yolo": 0.5},
}  # fmt: skip


def test_the_cost_is_that_of_the_nets_kept_beside_weights_and_gain():
    models = ["b3", "v2", "yolo"]
    assert cost_text(FOUND, models) == "0.75 s of inference per film with the nets kept, 2.25 s with all"
    assert search_text(FOUND, models) == (
        "map6 plain 0.5000, naive 0.5600, nested 0.5500; gain +0.0500 (95 % interval +0.0100 to +0.0900); "
        "weights b3 0.00, v2 2.00, yolo 1.00; " + cost_text(FOUND, models)
    )
    unmeasured = {**FOUND, "seconds_a_film": None, "gain": None}
    assert cost_text(unmeasured, models) == ""
    assert search_text(unmeasured, models).endswith("yolo 1.00")


@pytest.mark.slow
def test_the_stage_searches_once_and_the_report_shows_nested_beside_naive(trained):
    world = trained.another_run()
    of = experiment(ensemble={"search": "greedy"})
    ensemble.run(world.context(Stage.ENSEMBLE, of))
    reference = Reference.model_validate(world.store.get_json(layout.reference(world.run, TaskId(Stage.ENSEMBLE))))
    done = world.context(Stage.ENSEMBLE, of).open_work(Stage.ENSEMBLE, reference.works["search"])[1]
    assert set(done.scores) == {"plain", "naive", "nested"}
    scores = evaluate.run(world.context(Stage.EVALUATE, of))
    metrics = json.loads(world.result("metrics.json"))
    assert metrics["search"]["figure"] == "map6"
    assert scores["map6"] == pytest.approx(done.scores["nested"], abs=1e-6), "the headline is the nested score"
    assert metrics["search"]["seconds_a_film"] == {"b3": 0.5, "yolo": 0.5}, "two folds' nets of a quarter second"
    page = world.result("report.html").decode()
    assert "Ensemble search" in page
    assert "1 s of inference per film with the nets kept, 1 s with all" in page
    assert "<td>0.5 s</td>" in page
    assert f"{done.scores['naive']:.3f}" in page
    ensemble.run(world.context(Stage.ENSEMBLE, of))
    again = Reference.model_validate(world.store.get_json(layout.reference(world.run, TaskId(Stage.ENSEMBLE))))
    assert again.works == reference.works
