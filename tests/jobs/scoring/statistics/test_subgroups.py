"""For whom predictions work: a planted failing machine on phantom films is found, and none where none is planted."""

import numpy as np
import pandas as pd
import pytest

from jobs.contract.experiment import Ensemble
from jobs.contract.experiment.source import Phantom
from jobs.contract.names import ALL_CLASSES, STUDY_CLASSES
from jobs.films.phantom.studies import MACHINES, make_studies, phantom_id
from jobs.scoring.combine import Voter, combine
from jobs.scoring.evaluation_set import EvaluationSet
from jobs.scoring.statistics.subgroups import Subgroup, examine

FAILING = MACHINES[1]


def phantom_films(seed: int, patients: int = 120) -> pd.DataFrame:
    """The studies of a phantom, a film each, with the tags that its files have; boxes are made up."""
    rows = []
    for study in make_studies(Phantom(patients, seed)):
        name = phantom_id("study", seed, study.number)
        boxes = [] if study.study_class == "negative" else [[20.0, 30.0, 60.0, 90.0], [90.0, 30.0, 130.0, 80.0]]
        rows.append(
            {
                "image": f"{name}-0", "study": name, "patient": study.patient, "study_class": study.study_class,
                "boxes": boxes, "width": 160, "height": 128, "fold": study.number % 2,
                "sex": study.sex, "age": study.age // 20, "manufacturer": study.manufacturer,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def predictions(films: pd.DataFrame, skill: "np.ndarray", seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of a classifier and a detector, whose skill is given for each film."""
    rng = np.random.default_rng(seed)
    truth = np.eye(4)[[STUDY_CLASSES.index(name) for name in films["study_class"]]]
    told = rng.random((len(films), 4)) + skill[:, None] * truth
    studies = pd.DataFrame(told / told.sum(axis=1, keepdims=True), columns=list(STUDY_CLASSES))
    boxes = []
    for film, able in zip(films.to_dict("records"), skill, strict=True):
        for box in film["boxes"]:
            boxes.append(
                (film["image"], *(np.array(box) + rng.normal(0, 25 * (1 - able), 4)), 0.3 + 0.5 * rng.random())
            )
        boxes.append((film["image"], 5.0, 95.0, 45.0, 125.0, 0.6 * rng.random()))
    columns = ["image", "xmin", "ymin", "xmax", "ymax", "confidence"]
    return pd.concat([films[["image", "study"]], studies], axis=1), pd.DataFrame(boxes, columns=columns)


def examined(films: pd.DataFrame, skill: "np.ndarray", seed: int, resamples: int = 300) -> list[Subgroup]:
    classifier, detector = predictions(films, skill, seed)
    combined = combine(films, [Voter("b3", 1.0, classifier)], [Voter("yolo", 1.0, detector)], Ensemble())
    evaluation_set = EvaluationSet.from_index(films)
    table = evaluation_set.match(combined.submission, "it")
    by_study, by_film = films.set_index("study"), films.set_index("image")
    members = {}
    for attribute in ("sex", "age", "manufacturer"):
        values = [*by_study[attribute][list(evaluation_set.studies)], *by_film[attribute][list(evaluation_set.films)]]
        names = sorted(set(values))
        members[attribute] = ([str(name) for name in names], np.array([names.index(value) for value in values]))
    first = films.drop_duplicates("patient").sort_values("patient")["study_class"]
    stratum = np.array([STUDY_CLASSES.index(name) for name in first])
    return examine(table, evaluation_set.patient, stratum, members, ALL_CLASSES, resamples, seed)


def flags(found: list[Subgroup]) -> list[tuple[str, str]]:
    return [(group.attribute, group.name) for group in found if group.flagged]


def check(seed: int) -> None:
    films = phantom_films(seed)
    even = np.full(len(films), 0.6)
    assert flags(examined(films, even, seed)) == [], f"seed {seed}"
    failing = np.where(films["manufacturer"] == FAILING, 0.0, 0.6)
    assert flags(examined(films, failing, seed)) == [("manufacturer", FAILING)], f"seed {seed}"


def test_a_failing_machine_is_flagged_and_nothing_where_none_fails():
    check(1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 21))
def test_a_failing_machine_is_flagged_and_nothing_where_none_fails_on_twenty_seeds(seed):
    check(seed)


def test_a_group_is_scored_with_its_patients_and_a_small_one_is_not_tested():
    films = phantom_films(1, patients=30)
    few = films["patient"].isin(films["patient"].unique()[:4])
    films.loc[few, "manufacturer"] = "Rare"
    found = {group.name: group for group in examined(films, np.full(len(films), 0.6), 1, resamples=50)}
    rare = found["Rare"]
    assert (rare.patients, rare.tested, rare.flagged) == (4, False, False)
    assert len(rare.units) == 2 * few.sum()
    assert rare.interval.low <= rare.score <= rare.interval.high
    assert found["F"].tested
    assert sum(found[sex].patients for sex in "FM") == films["patient"].nunique()


def test_classes_that_are_rarer_in_a_group_do_not_count_against_it():
    """A machine that sees mostly negative studies has lower APs of all other classes, and is expected to."""
    films = phantom_films(3)
    rng = np.random.default_rng(3)
    usual = films["study_class"].eq("negative") | (rng.random(len(films)) < 0.25)
    films["manufacturer"] = np.where(usual, "Screening", "Hospital")
    found = {group.name: group for group in examined(films, np.full(len(films), 0.6), 3)}
    rare = ("typical", "indeterminate", "atypical")
    screening, hospital = (
        np.mean([found[name].classes[label] for label in rare]) for name in ("Screening", "Hospital")
    )
    assert screening < hospital - 0.05
    assert not found["Screening"].flagged


def test_without_resamples_nothing_is_tested():
    films = phantom_films(1, patients=30)
    found = examined(films, np.full(len(films), 0.6), 1, resamples=0)
    assert all(group.interval is None and not group.tested for group in found)
