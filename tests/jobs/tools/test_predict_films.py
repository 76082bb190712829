"""Answers about films from the tables of a run's nets, and their pictures."""

import numpy as np
import pytest

from jobs.contract.experiment import Experiment
from jobs.contract.names import STUDY_CLASSES
from jobs.scoring.combine import combine, voters_of
from jobs.scoring.submission import film_id, parse, render, study_id
from jobs.tools.predict_films.answers import answers
from jobs.tools.predict_films.picture import draw
from tests.jobs.ensemble.world import boxes_table, experiment, films_table, index

FILMS = index(patients=6)
TABLES = {
    "b3": {fold: films_table(FILMS, 0.5, fold) for fold in (0, 1)},
    "yolo": {fold: boxes_table(FILMS, 0.5, fold) for fold in (0, 1)},
}


def rows_of(text):
    """Row id → [(class, the text of its confidence)]."""
    rows = {}
    for line in text.splitlines()[1:]:
        name, _, prediction = line.partition(",")
        words = prediction.split()
        rows[name] = list(zip(words[::6], words[1::6], strict=True))
    return rows


def test_the_numbers_are_those_of_the_submission():
    voters = voters_of(experiment(), {name: list(table.values()) for name, table in TABLES.items()})
    submission = combine(FILMS, *voters, experiment().ensemble)
    rows = rows_of(render(submission.submission))
    assert parse(render(submission.submission), "made up").ids
    for answer in answers(FILMS, experiment(), TABLES, (0, 1)):
        study, film = dict(rows[study_id(answer.study)]), rows[film_id(answer.film)]
        assert {name: f"{answer.classes[name].probability:.9g}" for name in STUDY_CLASSES} == study
        assert film[0] == ("none", f"{answer.none.probability:.9g}")
        assert [f"{box.confidence:.9g}" for box in answer.boxes] == [confidence for _, confidence in film[1:]]


def test_the_spread_is_that_of_the_folds_alone():
    answer = answers(FILMS, experiment(), TABLES, (0, 1))[0]
    film = FILMS["study"] == answer.study
    single = [TABLES["b3"][fold].loc[film, "typical"].mean() for fold in (0, 1)]
    spread = answer.classes["typical"]
    assert (spread.low, spread.high) == pytest.approx((min(single), max(single)))
    assert spread.low < spread.probability < spread.high


def test_settings_that_only_serve_the_metric_are_not_applied():
    changed = experiment(ensemble={"labels": "top", "fusion": {"repeat": 3}})
    assert answers(FILMS, changed, TABLES, (0, 1)) == answers(FILMS, experiment(), TABLES, (0, 1))


def test_a_run_without_detector_or_study_classes_says_so():
    alone = Experiment(name="a", classifiers={"b3": {"size": 64}})
    assert answers(FILMS, alone, {"b3": TABLES["b3"]}, (0, 1))[0].boxes is None
    boxes = Experiment(name="b", detectors={"yolo": {"size": 64}})
    answer = answers(FILMS, boxes, {"yolo": TABLES["yolo"]}, (0, 1))[0]
    assert answer.classes is None
    assert answer.boxes


@pytest.mark.parametrize("size", [(160, 128), (40, 400)])
def test_a_picture_is_drawn_of_any_film(size, tmp_path):
    films = FILMS.assign(width=size[0], height=size[1])
    square, heat = np.full((64, 64), 90, np.uint8), np.full((32, 32), 0.5, np.float32)
    for answer in answers(films, experiment(), TABLES, (0, 1))[:2]:
        draw(tmp_path / "film.png", answer, square, heat)
        assert (tmp_path / "film.png").read_bytes().startswith(b"\x89PNG")
