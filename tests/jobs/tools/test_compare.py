"""Two runs against each other, from what their ensembles stored."""

import json

import pytest

from jobs import ensemble
from jobs.__main__ import app
from jobs.contract.exits import BadInput
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.tools.compare import compare
from tests.jobs.ensemble.world import World, experiment


def ensembled(trained: World, **changes: object) -> str:
    """A run over the same trainings, as far as its submission."""
    world, of = trained.another_run(), experiment(**changes)
    world.store.put(layout.run_experiment(world.run), of.model_dump_json().encode())
    ensemble.run(world.context(Stage.ENSEMBLE, of))
    return world.run


@pytest.mark.slow
def test_the_top_label_alone_scores_less_and_beyond_noise(trained, tmp_path):
    every, top = ensembled(trained), ensembled(trained, ensemble={"labels": "top", "weights": {"yolo": 0.5}})
    same = compare(trained.store, every, every, tmp_path)
    assert (same["figure"], same["difference"], same["p"], same["beyond_noise"]) == ("map6", 0, 1, False)
    less = compare(trained.store, every, top, tmp_path)
    assert less["difference"] == pytest.approx(less["scores"][1] - less["scores"][0])
    assert less["interval"]["low"] <= less["difference"] <= 0
    assert less["patients"] == 18


def test_runs_are_compared_on_the_folds_and_by_the_figure_that_both_have(trained, tmp_path):
    both = ensembled(trained)
    one = ensembled(trained, folds={"count": 2, "run": [1]}, detectors={})
    result = compare(trained.store, both, one, tmp_path)
    assert (result["figure"], result["folds"]) == ("map4", [1])
    assert result["difference"] == 0, "a film of fold 1 is judged by the same net in both"
    other = ensembled(trained, folds={"count": 2, "run": [0]})
    with pytest.raises(BadInput, match="no fold in common"):
        compare(trained.store, one, other, tmp_path)
    boxes = ensembled(trained, classifiers={})
    with pytest.raises(BadInput, match="share no figure"):
        compare(trained.store, one, boxes, tmp_path)


def test_an_unfinished_run_and_one_prepared_anew_are_refused(trained, tmp_path):
    done = ensembled(trained)
    with pytest.raises(BadInput, match="Run nothing has no submission"):
        compare(trained.store, done, "nothing", tmp_path)
    again = trained.another_run()
    trained.store.put(layout.run_experiment(again.run), experiment().model_dump_json().encode())
    ensemble.run(again.context(Stage.ENSEMBLE, experiment()))
    again.prepare(again.films.assign(fold=1 - again.films["fold"]))
    with pytest.raises(BadInput, match="another dataset since"):
        compare(trained.store, done, again.run, tmp_path)


def test_as_a_tool_it_prints_json(trained, capsys):
    run = ensembled(trained)
    app(["compare", "--runs", f"{run},{run}", "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["runs"] == [run, run]
    app(["compare", "--runs", f"{run},{run}"], standalone_mode=False)
    assert "within noise" in capsys.readouterr().out
    with pytest.raises(BadInput, match="name two runs"):
        app(["compare", "--runs", run], standalone_mode=False)
