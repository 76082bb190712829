"""The figures, from made-up predictions."""

import numpy as np
import pandas as pd
import pytest

from jobs.contract.experiment import Ensemble
from jobs.contract.names import STUDY_CLASSES
from jobs.evaluate import gallery
from jobs.evaluate.results import Predictions, score_predictions
from jobs.scoring.combine import Voter, combine
from jobs.scoring.metric import mean_ap
from jobs.scoring.submission import parse, render
from tests.jobs.ensemble.world import boxes_table, films_table, index

FILMS = index(patients=40)


def predictions(skill, classifier=films_table, films=FILMS):
    combined = combine(
        films,
        [Voter("b3", 1.0, classifier(films, skill, 1))],
        [Voter("yolo", 1.0, boxes_table(films, skill, 1))],
        Ensemble(),
    )
    return Predictions(parse(render(combined.submission), "it"), combined.films)


@pytest.fixture(scope="module")
def results():
    return score_predictions(FILMS, predictions(0.8), predictions(0.0), ("map6", "map4", "opacity"), 200, 1)


def test_the_headline_is_the_mean_of_the_classes(results):
    assert results.headline == "map6"
    aps = {name: one.score for name, one in results.classes.items()}
    assert results.figures["map6"].score == mean_ap(aps)
    assert results.figures["map4"].score == mean_ap(aps, STUDY_CLASSES)


def test_skill_is_told_from_none_beyond_noise(results):
    gain = results.figures["map6"].gain
    assert gain.beyond_noise
    assert gain.value == pytest.approx(results.figures["map6"].score - results.figures["map6"].untrained)
    assert results.figures["map6"].interval.low < results.figures["map6"].score < results.figures["map6"].interval.high


def test_each_fold_is_scored_alone_and_none_stands_out(results):
    assert [one.fold for one in results.folds] == sorted(FILMS["fold"].unique())
    assert sum(one.films for one in results.folds) == len(FILMS)
    assert sum(one.patients for one in results.folds) == FILMS["patient"].nunique()
    assert not any(one.comparison.outlying for one in results.folds)


def test_a_fold_whose_training_failed_stands_out():
    many = index(patients=120)
    good, bad = films_table(many, 1.0, 1), films_table(many, 0.0, 1)
    failed = (many["fold"] == 1).to_numpy()
    mixed = pd.concat([good[~failed], bad[failed]])
    figures = score_predictions(
        many, predictions(1.0, lambda *_: mixed, many), predictions(0.0, films=many), ("map4",), 200, 1
    )
    assert [one.fold for one in figures.folds if one.comparison.outlying and one.comparison.z < 0] == [1]


def test_the_confusion_counts_each_study_once(results):
    assert results.confusion.sum() == FILMS["study"].nunique()
    assert np.trace(results.confusion) > 0.7 * results.confusion.sum()


def test_film2_is_scored_by_film_level_probabilities():
    def film_level(films, skill, seed):
        rng = np.random.default_rng(seed)
        opacity = (1 - skill) * rng.random(len(films)) + skill * films["boxes"].map(bool).to_numpy()
        return films[["image", "study"]].assign(none=1 - opacity, opacity=opacity)

    perfect, poor = predictions(1.0, film_level), predictions(0.0, film_level)
    figures = score_predictions(FILMS, perfect, poor, ("film2",), 50, 1)
    assert figures.figures["film2"].score == 1
    assert figures.figures["film2"].untrained < 0.9
    assert list(figures.classes) == ["none", "opacity"]
    assert figures.confusion is None


def test_the_gallery_shows_the_best_first_the_worst_first_and_each_with_its_boxes(results):
    films = gallery.gallery_films(FILMS, predictions(0.8).submission, results)
    groups = gallery.choose(films, 6, 1)
    assert {name: len(one) for name, one in groups.items()} == {"best": 6, "worst": 6, "random": 6}
    boxed = [film for film in groups["best"] if film.truth]
    assert len(boxed) == 4
    assert boxed[0].agreement == max(film.agreement for film in films if film.truth)
    assert groups["worst"][0].agreement == min(film.agreement for film in films if film.truth)
    shown = boxed[0]
    assert [box.correct for box in shown.boxes].count(True) == len(shown.truth)
    assert next(iter(shown.probabilities)) == shown.study_class


def test_a_thumbnail_shows_the_film_without_its_padding():
    import base64

    import cv2

    film = gallery.gallery_films(
        FILMS,
        predictions(0.8).submission,
        score_predictions(FILMS, predictions(0.8), predictions(0.0), ("map4",), 0, 1),
    )[0]
    square = np.zeros((64, 64), np.uint8)
    square[6:57] = 200  # a film of 160 x 128 pixels fills 64 x 51 of its square
    data = gallery.thumbnail(square, film.width, film.height).removeprefix("data:image/jpeg;base64,")
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert pixels.shape == (51, 64)
    assert pixels.min() > 180
