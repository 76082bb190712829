"""The whole stage against a real store: two works, and what retrains and what does not."""

import json
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pytest

import jobs.train_classifier as stage
from jobs.contract.exits import BadInput, Stopped
from jobs.contract.experiment import ClassifierInference, LearningStage
from jobs.contract.names import STUDY_CLASSES, Stage
from jobs.contract.stored.records import Done
from jobs.films.dataset import Dataset
from jobs.nets.weights.pretrained import put
from jobs.runtime.context import Context
from jobs.runtime.store import Store
from jobs.runtime.work import fetch
from jobs.train_classifier.loop import ClassifierTraining
from tests.jobs.attempts import works_of
from tests.jobs.nets.classifier.films import TINY, training_inputs
from tests.jobs.train_classifier.conftest import prepare, training

pytestmark = pytest.mark.slow

SHORT = TINY.model_copy(update={"stages": (LearningStage(lr=3e-3, epochs=1),)})


class Lab:
    """A store whose prepare is done, and attempts at the stage."""

    def __init__(self, store: Store, dataset: Dataset, folder: Path) -> None:
        self.store, self.folder = store, folder
        prepare(store, dataset, SHORT, folder / "prepare")

    def attempt(self, **changes: object) -> Context:
        return training(self.store, SHORT.model_copy(update=changes), self.folder)

    def run(self, **changes: object) -> dict[str, Done]:
        context = self.attempt(**changes)
        stage.run(context)
        return works_of(context)

    def table(self, done: Done, name: str) -> pd.DataFrame:
        return pd.read_parquet(fetch(self.store, done.outputs[name], self.folder / "read"))


@pytest.fixture
def lab(s3_store: Store, dataset: Dataset, tmp_path: Path) -> Lab:
    return Lab(s3_store, dataset, tmp_path)


def test_a_fold_leaves_weights_a_curve_and_probabilities_of_its_own_films(lab: Lab, dataset: Dataset):
    works = lab.run()
    assert set(works["weights"].outputs) == {"best.safetensors", "last.safetensors", "curve.json"}
    curve = json.loads(fetch(lab.store, works["weights"].outputs["curve.json"], lab.folder).read_text())["epochs"]
    assert works["weights"].scores["best"] == curve[0]["val_score"] == works["oof"].scores["map4"]
    films, studies = lab.table(works["oof"], "films.parquet"), lab.table(works["oof"], "studies.parquet")
    fold = dataset.index[dataset.index["fold"] == 0]
    assert list(films["image"]) == list(fold["image"])
    assert films[list(STUDY_CLASSES)].sum(axis=1).to_numpy() == pytest.approx(1)
    pooled = films.groupby("study")["typical"].mean()
    assert dict(zip(studies["study"], studies["typical"], strict=True)) == pytest.approx(dict(pooled))
    untrained = lab.table(works["oof"], "untrained-films.parquet")
    assert list(untrained.columns) == list(films.columns)
    assert not (untrained["typical"] == films["typical"]).any()
    assert not list(lab.store.list(f"work/{Stage.TRAIN_CLASSIFIER}/{works['weights'].digest[:32]}/checkpoints"))


def test_another_inference_trains_nothing_anew(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    first = lab.run()
    monkeypatch.setattr(ClassifierTraining, "run", lambda *hooks: pytest.fail("trained anew"))
    wider = lab.run(inference=ClassifierInference(size=96, tta="flip"))
    assert wider["weights"] == first["weights"]
    assert set(wider["oof"].scores) == {"map4", "untrained", "map4_at_training_size", "map4_without_tta"}
    larger = lab.run(inference=ClassifierInference(size=96))
    assert larger["oof"].scores["map4_at_training_size"] == first["oof"].scores["map4"]
    flipped = lab.run(inference=ClassifierInference(tta="flip"))
    assert flipped["oof"].scores["map4_without_tta"] == first["oof"].scores["map4"]
    assert lab.run()["oof"] == first["oof"]


def test_what_is_done_is_not_looked_at_again(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    first = lab.run()
    monkeypatch.setattr("jobs.train_classifier.fold.ClassifierFold.of", lambda context: pytest.fail("work was begun"))
    assert lab.run() == first


@pytest.mark.parametrize("head", ["joint6", "film2"])
def test_each_head_gives_its_columns(lab: Lab, head: str):
    works = lab.run(head=head, aux=None)
    films = lab.table(works["oof"], "films.parquet")
    assert films[["none", "opacity"]].sum(axis=1).to_numpy() == pytest.approx(1)
    assert ("negative" in films) == ("studies.parquet" in works["oof"].outputs) == (head == "joint6")
    assert ("map4" if head == "joint6" else "film2") in works["oof"].scores


def test_asked_to_stop_it_keeps_the_step_and_goes_on(lab: Lab, dataset: Dataset):
    first = lab.attempt()
    first.stop.request()
    with pytest.raises(Stopped):
        stage.run(first)
    said: list[str] = []
    second = lab.attempt()
    second.progress.say = said.append  # type: ignore[method-assign]
    stage.run(second)
    assert said[0].startswith("continuing after step 1 of ")


class Recorder:
    """A tracker that keeps what it is given of each epoch, the first time and the last."""

    def __init__(self) -> None:
        self.first: dict[int, dict[str, float]] = {}
        self.last: dict[int, dict[str, float]] = {}

    def log(self, epoch: int, figures: dict[str, float]) -> None:
        self.first.setdefault(epoch, figures)
        self.last[epoch] = figures


def test_a_tracker_has_every_epoch_whichever_attempt_trained_it(lab: Lab):
    def attempt(stop_after: int | None = None) -> Recorder:
        context = lab.attempt(stages=(LearningStage(lr=3e-3, epochs=3),))
        context.progress.tracker = recorder = Recorder()
        report = context.progress.epoch

        def epoch(number: int, **figures: float) -> None:
            report(number, **figures)
            if number == stop_after:
                context.stop.request()

        context.progress.epoch = epoch
        with nullcontext() if stop_after is None else pytest.raises(Stopped):
            stage.run(context)
        return recorder

    stopped, resumed, done = attempt(stop_after=1), attempt(), attempt()
    assert list(stopped.first) == [1]
    assert list(resumed.first) == list(done.first) == [1, 2, 3]
    assert resumed.first == resumed.last == done.first
    assert stopped.first[1] == done.first[1]


def test_pretrained_weights_come_from_the_store_by_hash(lab: Lab, dataset: Dataset):
    with pytest.raises(BadInput, match=r"no pretrained weights mine .*jobs weights add mine"):
        lab.run(weights="mine")
    net = training_inputs(dataset, SHORT, seed=99).untrained()
    output = put(lab.store, "mine", net.backbone.state_dict(), None)
    assert lab.run(weights="mine")["weights"].inputs["pretrained"] == output.sha256


def test_weights_of_another_architecture_are_refused(lab: Lab, dataset: Dataset):
    other = training_inputs(dataset, SHORT.model_copy(update={"backbone": "test_resnet"})).untrained()
    put(lab.store, "other", other.backbone.state_dict(), None)
    with pytest.raises(BadInput, match=r"other do not fit the backbone test_efficientnet"):
        lab.run(weights="other")
