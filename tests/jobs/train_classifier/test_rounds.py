"""Rounds: pretrain on other films, let that teach, learn from films that it labels. Whole stages, on tiny films."""

from pathlib import Path

import pandas as pd
import pytest

import jobs.predict
import jobs.prepare
import jobs.train_classifier
import jobs.train_detector
from jobs.contract.exits import BadInput
from jobs.contract.experiment import (
    Aux,
    Classifier,
    Data,
    Detector,
    Experiment,
    ExtraFilms,
    Folds,
    LearningStage,
    PseudoBoxes,
    PseudoLabels,
)  # fmt: skip
from jobs.contract.names import STUDY_CLASSES, Stage
from jobs.contract.plan import plan
from jobs.contract.stored import layout
from jobs.contract.stored.records import Done
from jobs.contract.task import TaskId
from jobs.films.prepared import fetch_dataset
from jobs.runtime.context import Context
from jobs.runtime.store import Store
from jobs.runtime.work import fetch
from tests.jobs.attempts import context_of, works_of

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Invalid value for VR UI")]

NET = Classifier(
    backbone="test_efficientnet", size=64, batch=4, stages=(LearningStage(lr=3e-3, epochs=1),), optimizer="adam",
    aux=Aux(layers=2, channels=8),
)  # fmt: skip
YOLO = Detector(model="yolov8n", width=0.125, size=64, epochs=1, batch=4, mosaic=0)
STAGES = {
    Stage.PREPARE: jobs.prepare, Stage.PREDICT: jobs.predict, Stage.TRAIN_CLASSIFIER: jobs.train_classifier,
    Stage.TRAIN_DETECTOR: jobs.train_detector,
}  # fmt: skip


def phantom(seed: int) -> str:
    return f"phantom:patients=8,seed={seed},size=96"


def pseudo(seed: int, run: str, keep: float = 0.0) -> ExtraFilms:
    labels = PseudoLabels(run=run, keep=keep, boxes=PseudoBoxes(above=0.02, below=0.001))
    return ExtraFilms(source=phantom(seed), labels=labels)


class Rounds:
    """Runs of the same store, made stage by stage in this process."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder
        (folder / "cache").mkdir()

    def context(self, run: str, experiment: Experiment, task: TaskId) -> Context:
        context = context_of(self.store, task, experiment, self.folder / run / task.name, run)
        context.cache = self.folder / "cache"
        return context

    def run(self, run: str, data: Data, fold: int = 0, seed: int = 1, **weights: object) -> Experiment:
        net, yolo = (model.model_copy(update=weights) for model in (NET, YOLO))
        if start := weights.get("weights"):
            yolo = YOLO.model_copy(update={"weights": str(start).replace("/net", "/yolo")})
        experiment = Experiment(
            name=run, data=data, folds=Folds(count=2, run=(fold,), seed=seed), classifiers={"net": net},
            detectors={"yolo": yolo},
        )  # fmt: skip
        self.store.put_json(layout.run_experiment(run), experiment.model_dump(mode="json"))
        for task in plan(experiment):
            if task.id.stage in STAGES:
                STAGES[task.id.stage].run(self.context(run, experiment, task.id))
        return experiment

    def works(self, run: str, experiment: Experiment, stage: Stage, model: str) -> dict[str, Done]:
        return works_of(self.context(run, experiment, TaskId(stage, model, 0)))


@pytest.fixture
def rounds(s3_store: Store, tmp_path: Path) -> Rounds:
    return Rounds(s3_store, tmp_path)


def test_a_student_learns_from_labels_of_a_teacher_that_was_pretrained(rounds: Rounds):
    rounds.run("wide", Data(source=phantom(5)))
    rounds.run("teacher", Data(source=phantom(2)), weights="run:wide/net")
    extra = (pseudo(3, "teacher"), ExtraFilms(source=phantom(4)))
    student = rounds.run("student", Data(source=phantom(2), extra=extra), weights="run:teacher/net")
    works = rounds.works("student", student, Stage.TRAIN_CLASSIFIER, "net")
    inputs = works["weights"].inputs
    assert inputs["start"]["weights"]
    labelled, own = inputs["extra"]
    assert labelled["labels"]
    assert "labels" not in own
    labels = rounds.works("student", student, Stage.PREDICT, "extra-0")
    table = pd.read_parquet(fetch(rounds.store, labels["labels"].outputs["labels.parquet"], rounds.folder / "cache"))
    assert table[list(STUDY_CLASSES)].sum(axis=1).to_numpy() == pytest.approx(1)
    assert set(labels) == {"labels", "predictions-net", "predictions-yolo"}
    # Another threshold predicts nothing anew.
    other = Data(source=phantom(2), extra=(pseudo(3, "teacher", keep=0.3),))
    again = rounds.works("again", rounds.run("again", other), Stage.PREDICT, "extra-0")
    assert again["predictions-net"] == labels["predictions-net"]
    assert again["labels"] != labels["labels"]
    # Round two: the student teaches, and has seen nothing that its fold validates on.
    rounds.run("second", Data(source=phantom(2), extra=(pseudo(6, "student"),)))
    with pytest.raises(BadInput, match=r"has trained on \d+ films that fold 0 validates on.*would leak"):
        rounds.run("split", Data(source=phantom(2), extra=(pseudo(6, "student"),)), seed=7)
    # A teacher that learned from films which the fold validates on is refused, too: here by way of its extra films.
    with pytest.raises(BadInput, match=r"in its films beside the folds has trained on \d+ films that fold 0 validates"):
        rounds.run("leak", Data(source=phantom(4), extra=(pseudo(6, "student"),)))


def test_duplicates_of_validation_films_are_not_trained_on(rounds: Rounds):
    same = rounds.run("same", Data(source=phantom(2), extra=(ExtraFilms(source=phantom(2)),)))
    inputs = rounds.works("same", same, Stage.TRAIN_CLASSIFIER, "net")["weights"].inputs
    rows = rounds.context("same", same, TaskId(Stage.TRAIN_CLASSIFIER, "net", 0))
    index = fetch_dataset(rows, ()).index
    assert inputs["extra"][0]["without"] == sorted(index["image"][index["fold"] == 0])
