"""evaluate on a labelled test set, beside the run whose nets predict it."""

import json

import numpy as np
import pandas as pd
import pytest

from jobs import ensemble, evaluate
from jobs.contract import environment
from jobs.contract.exits import BadInput
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.films.dataset import index_bytes
from jobs.films.lineage.shared_films import SharedFilms
from jobs.tools.compare import compare
from tests.jobs.ensemble.world import COST, World, experiment, index


def labelled(patients: int = 30) -> pd.DataFrame:
    """Another hospital's films: the same classes, other names."""
    films = index(patients)
    for column in ("image", "study", "patient"):
        films[column] = "other-" + films[column]
    return films.assign(fold=-1)


def predicted(
    trained: World, monkeypatch: pytest.MonkeyPatch, films: pd.DataFrame, overlap: SharedFilms | None
) -> World:
    """A run that has predicted the films with the nets of ``trained``; without an overlap they have no labels."""
    of = experiment()
    earlier = trained.another_run()
    monkeypatch.delenv(environment.FROM_RUN, raising=False)
    earlier.store.put(layout.run_experiment(earlier.run), of.model_dump_json().encode())
    ensemble.run(earlier.context(Stage.ENSEMBLE, of))
    monkeypatch.setenv(environment.FROM_RUN, earlier.run)
    world = World(trained.store, trained.folder, f"{earlier.run}-on", films)
    dataset = world.prepare(films if overlap else films.assign(study_class=None))
    if overlap:
        context = world.context(Stage.PREPARE, of)
        overlap.write(context.scratch / "overlap.json")
        done = context.work("overlap", {"dataset": dataset, "left_out": overlap.left_out}).finish(
            {"overlap.json": context.scratch / "overlap.json"}, {}, COST
        )
        context.refer({**context.prepared.works, "overlap": done.digest}, {})
    for model in (*of.classifiers, *of.detectors):
        for fold in range(2):
            world.predict(of, dataset, model, fold)
    ensemble.run(world.context(Stage.ENSEMBLE, of))
    return world


def test_a_labelled_test_set_is_set_beside_out_of_fold_and_can_be_compared(trained, monkeypatch, tmp_path):
    films = labelled()
    seen = list(films["image"][films["patient"] == "other-patient04"])
    world = predicted(trained, monkeypatch, films, SharedFilms("earlier", ["other-patient04"], [], seen))
    scores = evaluate.run(world.context(Stage.EVALUATE, experiment()))
    metrics, page = json.loads(world.result("metrics.json")), world.result("report.html").decode()
    assert metrics["headline"] == {"figure": "map6", "score": scores["map6"]}
    assert metrics["data"]["films"] == len(films) - len(seen)
    compared = metrics["external"]["figures"]["map6"]
    assert compared["external"]["score"] == pytest.approx(scores["map6"])
    difference = compared["difference"]
    assert difference["value"] == pytest.approx(compared["external"]["score"] - compared["out_of_fold"]["score"])
    assert difference["interval"]["low"] <= difference["value"] <= difference["interval"]["high"]
    assert list(metrics["external"]["classes"]) == list(metrics["classes"])
    assert metrics["external"]["overlap"]["patients"] == ["other-patient04"]
    assert metrics["external"]["calibration"].keys() == metrics["calibration"].keys()
    assert metrics["per_fold"] == []
    for sentence in (
        "External beside out of fold",
        "<b>Left out:</b> run earlier was trained on 1 of these patients (other-patient04), which concerns 1 film",
    ):
        assert sentence in page
    for sentence in ("<h2>Folds", "untrained", "Learning curves"):
        assert sentence not in page
    assert "--overlap drop" in page
    assert "an advantage of the former" in world.result("card.md").decode()
    world.store.put(layout.run_experiment(world.run), experiment().model_dump_json().encode())
    same = compare(world.store, world.run, world.run, tmp_path)
    assert (same["scores"][0], same["difference"]) == (pytest.approx(scores["map6"]), 0)


@pytest.mark.slow
def test_classes_that_one_of_the_two_lacks_are_left_out_of_the_comparison(trained, monkeypatch):
    films = labelled()
    films = films[films["study_class"] != "atypical"]
    world = predicted(trained, monkeypatch, films, SharedFilms("earlier", [], [], []))
    evaluate.run(world.context(Stage.EVALUATE, experiment()))
    metrics = json.loads(world.result("metrics.json"))
    assert metrics["external"]["figures"]["map4"]["left_out"] == ["atypical"]
    atypical = metrics["external"]["classes"]["atypical"]
    assert (atypical["external"]["score"], atypical["out_of_fold"]["score"], atypical["difference"]) == (None,) * 3
    assert (
        metrics["external"]["shares"]["negative"]["external"] > metrics["external"]["shares"]["negative"]["out_of_fold"]
    )
    page = world.result("report.html").decode()
    assert "Compared without atypical" in page
    assert "precision against recall of negative" in page
    assert "precision against recall of atypical" not in page


@pytest.mark.slow
def test_a_test_set_that_is_easier_or_harder_is_told_beyond_noise(trained, monkeypatch):
    films = labelled(120)
    rng = np.random.default_rng(1)
    wrong = films.assign(study_class=films["study"].map(dict(zip(films["study"].unique(), rng.permutation(
        films.drop_duplicates("study")["study_class"]), strict=True))))  # fmt: skip
    world = predicted(trained, monkeypatch, films, SharedFilms("earlier", [], [], []))
    context = world.context(Stage.PREPARE, experiment())
    (context.scratch / "index.parquet").write_bytes(index_bytes(wrong))
    rows = evaluate.external.scored_rows(wrong, SharedFilms("earlier", [], [], []))
    earlier = evaluate.external.find_out_of_fold(context)
    fused = context.open_work(Stage.ENSEMBLE, world.context(Stage.EVALUATE, experiment()).upstream(
        world.context(Stage.ENSEMBLE, experiment()).task).works["submission"])[1]  # fmt: skip
    predictions = evaluate.external.predictions_of(context, fused, rows)
    compared = evaluate.external.compare(context, rows, predictions, earlier, wrong, SharedFilms("e", [], [], []))
    assert compared.figures["map4"].difference.value < -0.2
    assert compared.figures["map4"].difference.beyond_noise


@pytest.mark.slow
def test_without_labels_nothing_is_scored_and_without_any_film_left_it_is_said(trained, monkeypatch):
    films = labelled()
    world = predicted(trained, monkeypatch, films, None)
    assert evaluate.run(world.context(Stage.EVALUATE, experiment())) == {}
    assert world.store.size(layout.report(world.run, "metrics.json")) is None
    everything = SharedFilms("earlier", sorted(set(films["patient"])), [], list(films["image"]))
    world = predicted(trained, monkeypatch, films, everything)
    with pytest.raises(BadInput, match="No labelled film is left to score"):
        evaluate.run(world.context(Stage.EVALUATE, experiment()))
