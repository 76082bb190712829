"""The stage on a store that has the ensemble's result: the files it publishes and their content."""

import html
import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest

from jobs import ensemble, evaluate
from jobs.contract import environment
from jobs.contract.exits import BadInput
from jobs.contract.names import ALL_CLASSES, STUDY_CLASSES, Stage
from jobs.contract.stored import layout
from jobs.contract.task import TaskId
from jobs.runtime.work import fetch
from tests.jobs.ensemble.world import COST, World, experiment, index
from workflows.settings.files import load_experiment


def evaluated(world, of):
    """Ensemble and evaluate: the scores, metrics.json and report.html."""
    ensemble.run(world.context(Stage.ENSEMBLE, of))
    scores = evaluate.run(world.context(Stage.EVALUATE, of))
    return scores, json.loads(world.result("metrics.json")), world.result("report.html").decode()


def test_publishes_every_figure_with_where_it_comes_from(trained):
    scores, metrics, page = evaluated(trained.another_run(), experiment(title="Made <up>"))
    assert list(scores) == ["map6", "map4", "opacity"]
    assert metrics["headline"] == {"figure": "map6", "score": scores["map6"]}
    assert set(metrics["classes"]) == set(ALL_CLASSES)
    assert all(one["score"] > one["untrained"] for one in metrics["classes"].values())
    assert metrics["study_log_unit"] == pytest.approx(scores["map4"] * 4 / 6)
    assert [fold["fold"] for fold in metrics["per_fold"]] == [0, 1]
    assert metrics["data"]["films"] == len(index())
    assert not metrics["degraded"]
    assert metrics["engine"].startswith("cxrfold: PASCAL VOC 2010")
    assert metrics["provenance"]["versions"]["numpy"]
    assert len(metrics["tasks"]) == 6
    classifier = next(task for task in metrics["tasks"] if task["stage"] == "train-classifier")
    assert classifier["best"]["epoch"] == classifier["last"]["epoch"] == 4, "counted from 1"
    assert classifier["seconds"] == 4, "four epochs of a second outweigh the last attempt's clock"
    assert f"{scores['map6']:.3f}" in page
    assert "Made &lt;up&gt;" in page
    assert "films of <b>phantom:patients=60,seed=1 (synthetic)</b> · <b>all 2 folds</b>" in page


@pytest.mark.slow
def test_the_page_needs_nothing_but_itself(trained):
    _, _, page = evaluated(trained.another_run(), experiment())
    assert re.findall(r'(?:src|href)="(?!data:image/jpeg;base64,)[^"]*"', page) == []
    assert re.findall(r"url\(|@import|<script|https?://", page) == []
    assert page.count("data:image/jpeg") == 9, "three films a group"
    assert len(page) < 3e6


@pytest.mark.slow
def test_the_page_holds_the_experiment_that_repeats_the_run(trained, tmp_path):
    of = experiment(seed=7)
    _, _, page = evaluated(trained.another_run(), of)
    file = tmp_path / "run.yaml"
    file.write_text(html.unescape(re.search(r"resolved experiment</summary><pre>(.*?)</pre>", page, re.DOTALL)[1]))
    assert load_experiment(file) == of


@pytest.mark.slow
def test_a_lost_fold_is_said_on_the_page_and_in_the_figures(trained):
    world = trained.another_run(without=[TaskId(Stage.TRAIN_CLASSIFIER, "b3", 1)])
    _, metrics, page = evaluated(world, experiment(ensemble={"min_folds": 1}))
    assert metrics["degraded"]
    assert metrics["missing_folds"] == [1]
    assert "<b>Degraded.</b> Fold 1 is left out" in page


@pytest.mark.slow
def test_what_the_choices_of_inference_add_is_said(trained):
    world = trained.another_run()
    for fold in (0, 1):
        context = world.context(Stage.TRAIN_DETECTOR, experiment(), "yolo", fold)
        works = context.upstream(context.task).works
        _, oof = context.open_work(Stage.TRAIN_DETECTOR, works["oof"])
        files = {name: fetch(world.store, output, context.cache) for name, output in oof.outputs.items()}
        scores = {"opacity": 0.5, "opacity_without_tta": 0.47 - fold / 10}
        done = context.work("oof", {**oof.inputs, "tta": True}).finish(files, scores, oof.cost)
        context.refer({**works, "oof": done.digest}, {})
    _, metrics, page = evaluated(world, experiment())
    worth = {(task["model"], task["fold"]): task["worth"] for task in metrics["tasks"]}
    assert worth["yolo", 1] == {"tta": pytest.approx(0.13)}
    assert worth["b3", 1] == {}
    assert "<th>TTA adds</th><td>+0.030</td><td>+0.130</td>" in page


@pytest.mark.slow
def test_a_detector_alone_is_scored_by_its_boxes(trained):
    scores, metrics, page = evaluated(trained.another_run(), experiment(classifiers={}))
    assert list(scores) == ["opacity"]
    assert list(metrics["classes"]) == ["opacity"]
    assert metrics["confusion"] is None
    assert "Confusion matrix" not in page


@pytest.mark.slow
def test_a_classifier_alone_is_scored_by_its_classes(trained):
    scores, metrics, _ = evaluated(trained.another_run(), experiment(detectors={}))
    assert list(scores) == ["map4"]
    assert sum(map(sum, metrics["confusion"]["rows_are_truth"])) == index()["study"].nunique()


@pytest.mark.slow
def test_a_search_for_settings_is_told_with_its_gain_its_recipe_and_what_the_gain_is_worth(trained):
    world, of = (
        trained.another_run(),
        experiment(classifiers={}, detectors={"yolo": {"size": 64, "evolve": {"epochs": 60}}}),
    )
    world.search(of, "yolo", 0, [0.31, 0.29, 0.42], seconds=20)
    world.search(of, "yolo", 1, [0.5, 0.1, 0.0], seconds=1)
    _, metrics, page = evaluated(world, of)
    found, none = (task for task in metrics["tasks"] if task["stage"] == "train-detector")
    assert found["seconds"] == 60, "three candidates, not the chosen one alone"
    assert [one["score"] for one in found["search"]["candidates"]] == [0.31, 0.29, 0.42]
    assert (found["search"]["start"], found["search"]["best"]) == (0.31, 0.42)
    assert none["search"]["best"] == none["search"]["start"] == 0.5
    assert "<b>Optimistic:</b> the settings of yolo were selected on the same folds" in page
    row = (
        "<th>0</th><td>0.310</td><td><b>0.420</b></td><td>+0.110</td><td>3 of 3</td><td><code>evolved-yolo-fold-0.yaml"
    )
    assert row in page
    assert "lr 0.01 → 0.008" in page
    assert "Nothing: no candidate scored better than the start." in page
    assert "name: evolved-on-0" in page


@pytest.mark.slow
def test_a_run_without_a_search_says_nothing_of_one(trained):
    _, metrics, page = evaluated(trained.another_run(), experiment())
    assert "Search for settings" not in page
    assert "Optimistic" not in page
    assert not any("search" in task for task in metrics["tasks"])


@pytest.mark.slow
def test_without_resamples_there_is_no_interval_and_still_a_page(trained):
    _, metrics, page = evaluated(trained.another_run(), experiment(evaluation={"bootstrap": 0, "gallery": 0}))
    assert metrics["classes"]["none"]["interval"] is None
    assert "data:image" not in page


@pytest.mark.slow
def test_done_again_it_publishes_the_same_page_and_another_dataset_is_refused(trained):
    world = trained.another_run()
    _, _, page = evaluated(world, experiment())
    evaluate.run(world.context(Stage.EVALUATE, experiment()))
    assert world.result("report.html").decode() == page
    world.prepare(index(patients=20))
    with pytest.raises(BadInput, match="prepare has since written"):
        evaluate.run(world.context(Stage.EVALUATE, experiment()))


@pytest.mark.slow
def test_the_outcome_is_pushed_where_a_gateway_is_named(trained, monkeypatch):
    received = {}

    class Gateway(BaseHTTPRequestHandler):
        def do_POST(self):
            received[self.path] = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    world = trained.another_run()
    prepare = world.context(Stage.PREPARE, experiment())
    world.store.put_json(layout.heartbeat(world.run, prepare.task), prepare.progress.beat.model_dump(mode="json"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv(environment.PUSHGATEWAY, f"http://127.0.0.1:{server.server_port}")
        scores, _, _ = evaluated(world, experiment())
        server.shutdown()
    ((path, text),) = received.items()
    assert "experiment/made-up" in path
    assert f'cxrfold_score{{metric="map6"}} {scores["map6"]}' in text
    assert 'cxrfold_score_low{metric="map4"}' in text
    assert "cxrfold_run_failed 0.0" in text


@pytest.mark.slow
def test_a_card_is_written_with_lines_for_what_a_program_cannot_know(trained):
    world = trained.another_run()
    scores, metrics, _ = evaluated(world, experiment(title="Two nets"))
    card = world.result("card.md").decode()
    assert "# Model card: Two nets" in card
    assert f"| map6 | {scores['map6']:.3f} |" in card
    assert card.count("\n| opacity |") == 1, "a figure and a class"
    for empty in ("Owner", "Contact", "Intended use", "Permission to use them", "Clinical evaluation"):
        assert f"- {empty}:\n" in card
    assert "AGPL-3.0" in card
    assert "- The films are synthetic" in card
    assert "b3: classifier tf_efficientnet_b3, 64 px, from random weights" in card
    assert "tell no groups of patients or machines apart" in card
    assert metrics["groups"] is None, "these films were prepared without tags"


@pytest.mark.slow
def test_groups_of_patients_are_scored_and_a_failing_machine_stands_out(trained):
    films = index(patients=60)
    world = World(trained.store, trained.folder, f"{trained.run}-groups", films)
    dataset, of = world.prepare(films), experiment(evaluation={"bootstrap": 200, "gallery": 0}, detectors={})
    for fold in (0, 1):
        world.train(of, dataset, "b3", fold)
    number = films["patient"].str[-2:].astype(int)
    # The machine fails: what it shows of a study is what the next study has.
    failing = (number % 3 == 0).to_numpy()
    tags = pd.DataFrame(
        {
            "image": films["image"], "sex": np.where(number % 2, "F", "M"), "age": 30.0 + number % 50, "view": "PA",
            "modality": None, "manufacturer": np.where(failing, "Broken", "Good"),
        }
    )  # fmt: skip
    context = world.context(Stage.PREPARE, of)
    tags.to_parquet(context.scratch / "descriptions.parquet", index=False)
    work = context.work("descriptions", {"dataset": dataset})
    done = work.finish({"descriptions.parquet": context.scratch / "descriptions.parquet"}, {}, COST)
    context.refer({**context.prepared.works, "descriptions": done.digest}, {})
    for fold in (0, 1):
        training = world.context(Stage.TRAIN_CLASSIFIER, of, "b3", fold)
        works = training.upstream(training.task).works
        oof = training.open_work(Stage.TRAIN_CLASSIFIER, works["oof"])[1]
        files = {name: fetch(world.store, output, training.cache) for name, output in oof.outputs.items()}
        table = pd.read_parquet(files["films.parquet"])
        rows = table["image"].isin(films["image"][failing]).to_numpy()
        table.loc[rows, list(STUDY_CLASSES)] = np.roll(table.loc[rows, list(STUDY_CLASSES)].to_numpy(), 2, axis=0)
        table.to_parquet(training.scratch / "films.parquet", index=False)
        files["films.parquet"] = training.scratch / "films.parquet"
        spoilt = training.work("oof", {**oof.inputs, "spoilt": True}).finish(files, {}, COST)
        training.refer({**works, "oof": spoilt.digest}, {})
    _, metrics, page = evaluated(world, of)
    found = {(row["attribute"], row["group"]): row for row in metrics["groups"]["groups"]}
    assert [key for key, row in found.items() if row["flagged"]] == [("manufacturer", "Broken")]
    assert set(found) == {
        ("sex", "female"), ("sex", "male"), ("age", "18–39"), ("age", "40–59"), ("age", "60–79"),
        ("manufacturer", "Broken"), ("manufacturer", "Good"),
    }  # fmt: skip
    broken = found["manufacturer", "Broken"]
    assert (broken["patients"], broken["studies"], broken["films"]) == (20, 20, 40)
    assert broken["interval"]["low"] <= broken["score"] <= broken["interval"]["high"] < broken["expected"]
    assert "<b>manufacturer Broken stands out:</b>" in page
    assert "**stands out**" in world.result("card.md").decode()


@pytest.mark.slow
def test_doubted_labels_are_published_as_page_and_table(trained):
    world = trained.another_run()
    _, metrics, _ = evaluated(world, experiment())
    rows = pd.read_csv(io.BytesIO(world.result("labels.csv")))
    page = world.result("labels.html").decode()
    assert set(metrics["doubted_labels"]) == {"study class", "box may be missing", "box may show nothing"}
    assert metrics["doubted_labels"]["study class"]["labels"] == index()["study"].nunique()
    assert list(rows) == ["kind", "study", "image", "patient", "label", "suggested", "doubt", "counted", "box"]
    assert "study class: about" in page
    assert re.findall(r'(?:src|href)="(?!data:image/jpeg;base64,)[^"]*"', page) == []
