"""The search on a store: what it trains, what it reuses, what it leaves, and that a kill changes none of it."""

import json
from pathlib import Path
from typing import Any

import pytest

import jobs.train_detector
from jobs.contract.exits import BadInput, Stopped
from jobs.contract.experiment import Detector, Evolve
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Cost, Done
from jobs.nets.yolo.trainer import Diverged
from jobs.runtime.context import Context
from jobs.runtime.store import Store
from jobs.runtime.work import Work, fetch
from jobs.train_detector import train as weights
from jobs.train_detector.fold import DetectorFold
from jobs.train_detector.search import evolve
from tests.jobs.attempts import works_of
from tests.jobs.nets.yolo.films import TINY
from tests.jobs.train_detector.conftest import NewContext, training
from workflows.settings.files import load_experiment

pytestmark = pytest.mark.slow

ONE = TINY.model_copy(update={"epochs": 1})


def search_of(candidates: int) -> Detector:
    return ONE.model_copy(update={"evolve": Evolve(epochs=candidates)})


SEARCH = search_of(3)


class Trainings:
    """Stands in for the training: weights at once, scored by a rule; some settings diverge, some moments are a stop."""

    def __init__(self, diverging: int | None = None) -> None:
        self.detectors: list[Detector] = []
        self.diverging = diverging
        self.phases: list[str] = []

    def __call__(self, fold: DetectorFold, work: Work) -> Done:
        self.detectors.append(fold.detector)
        fold.context.progress.phase("training", steps=4, epochs=1)
        self.phases.append(fold.context.progress.beat.phase)
        if len(self.detectors) == self.diverging:
            raise Diverged("the loss became nan")
        folder = fold.context.scratch
        for name in ("best.safetensors", "last.safetensors"):
            (folder / name).write_text(work.digest)
        (folder / "curve.json").write_text('{"epochs": []}')
        scores = {"best": 1 - abs(fold.detector.lr - 0.004), "last": 1 - fold.detector.mosaic}
        paths = {path.name: path for path in folder.iterdir() if path.is_file()}
        return work.finish(paths, scores, Cost(seconds=1, peak_memory=1))


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    fake = Trainings()
    monkeypatch.setattr(weights, "train", fake)
    return fake


def rows(context: Context, search: Done) -> list[dict[str, Any]]:
    text = fetch(context.store, search.outputs["candidates.json"], context.cache).read_text()
    table: list[dict[str, Any]] = json.loads(text)
    return table


@pytest.mark.slow
def test_the_best_candidates_weights_go_on_to_the_boxes_and_its_recipe_trains_nothing(
    attempt: NewContext, tmp_path: Path, prepared: Store, monkeypatch: pytest.MonkeyPatch
):
    context = attempt(SEARCH)
    scores = jobs.train_detector.run(context)
    works, done = context.upstream(context.task).works, works_of(context)
    assert list(done) == ["search", "weights", "oof"]
    table = rows(context, done["search"])
    assert len(table) == len({json.dumps(row["settings"]) for row in table}) == 3
    assert done["search"].scores == {"start": table[0]["score"], "best": max(row["score"] for row in table)}
    assert (scores["best"], scores["start"]) == (done["search"].scores["best"], table[0]["score"])
    assert done["weights"].scores["best"] == scores["best"]
    assert done["oof"].inputs["weights"] == done["weights"].digest

    file = tmp_path / "evolved.yaml"
    file.write_bytes(context.store.get(layout.recipe(context.run, "yolo", 0)))
    monkeypatch.setattr(weights, "train", None)  # would be called where anything were trained
    again = training(prepared, load_experiment(file), tmp_path)
    jobs.train_detector.run(again)
    assert again.upstream(again.task).works == {one: works[one] for one in ("weights", "oof")}


def test_as_many_are_trained_as_the_budget_says_and_a_larger_one_goes_on(attempt: NewContext, trainings: Trainings):
    evolve(DetectorFold.of(attempt(SEARCH)))
    first = list(trainings.detectors)
    assert len(first) == 3
    assert first[0] == ONE
    assert trainings.phases == ["candidate 1/3", "candidate 2/3", "candidate 3/3"]
    evolve(DetectorFold.of(attempt(search_of(5))))
    assert len(trainings.detectors) == 5
    evolve(DetectorFold.of(attempt(SEARCH)))
    assert len(trainings.detectors) == 5


def test_a_candidate_that_somebody_has_trained_is_not_trained_again(attempt: NewContext, trainings: Trainings):
    plain = DetectorFold.of(attempt(ONE))
    trainings(plain, plain.context.work("weights", plain.weights_inputs()))
    evolve(DetectorFold.of(attempt(SEARCH)))
    assert len(trainings.detectors) == 3


def test_the_epoch_that_counts_decides_which_is_best(attempt: NewContext, trainings: Trainings):
    for select, field, wanted in (("best", "lr", 0.004), ("last", "mosaic", 0.0)):
        context = attempt(search_of(5), select=select)
        fold, search = evolve(DetectorFold.of(context))
        tried = [row["settings"][field] for row in rows(context, search)]
        assert getattr(fold.detector, field) == min(tried, key=lambda value: abs(value - wanted))
    assert len(trainings.detectors) < 10, "both begin with the same"


def test_a_stop_comes_between_candidates_and_what_is_trained_stays(attempt: NewContext, trainings: Trainings):
    context = attempt(SEARCH)
    context.stop.request()
    with pytest.raises(Stopped):
        evolve(DetectorFold.of(context))
    assert trainings.detectors == []


def test_a_candidate_that_diverges_scores_nothing_once_and_the_search_goes_on(
    attempt: NewContext, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
):
    trainings.diverging = 2
    context = attempt(SEARCH)
    fold, search = evolve(DetectorFold.of(context))
    table = rows(context, search)
    assert [row["score"] == 0 for row in table] == [False, True, False]
    assert fold.detector != trainings.detectors[1]
    context.store.delete([layout.done(layout.work(Stage.TRAIN_DETECTOR, search.digest))])
    again = evolve(DetectorFold.of(attempt(SEARCH)))[1]
    assert len(trainings.detectors) == 3, "that it diverges is remembered"
    assert rows(context, again) == table


def test_settings_that_only_diverge_are_bad_input(attempt: NewContext, monkeypatch: pytest.MonkeyPatch):
    def diverge(fold: DetectorFold, work: Work) -> Done:
        raise Diverged("the loss became nan in epoch 0, batch 1; lower lr (0.01)")

    monkeypatch.setattr(weights, "train", diverge)
    with pytest.raises(BadInput, match="lower lr"):
        jobs.train_detector.run(attempt(SEARCH))


def test_a_candidate_is_charged_for_its_own_time_alone(attempt: NewContext, trainings: Trainings):
    fold = DetectorFold.of(attempt(SEARCH))
    later = fold.with_settings(SEARCH)
    assert later.context.began > fold.context.began
    assert later.context.progress is fold.context.progress
