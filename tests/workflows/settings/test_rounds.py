"""The chain of rounds: experiments that name each other's runs."""

import pytest

from workflows.settings.files import load_experiment
from workflows.settings.recipes import EXPERIMENTS

ROUNDS = {
    name: load_experiment(EXPERIMENTS / "rounds" / f"{name}.yaml") for name in ("wide", "teacher", "student", "second")
}


def test_each_round_starts_from_or_learns_from_the_one_before():
    assert {model.weights for model in ROUNDS["teacher"].models.values()} == {"run:wide/tiny", "run:wide/yolo"}
    teachers = [ROUNDS[name].data.extra[0].labels for name in ("student", "second")]
    assert [labels.run for labels in teachers if labels] == ["teacher", "student"]


@pytest.mark.parametrize("name", ["student", "second"])
def test_rounds_are_scored_on_the_same_films_and_folds(name: str):
    assert ROUNDS[name].folds == ROUNDS["teacher"].folds
    assert ROUNDS[name].data.model_copy(update={"extra": ()}) == ROUNDS["teacher"].data
