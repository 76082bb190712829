"""A small run whose trainings are done: films, folds and predictions made up, stored as the stages would store them."""

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jobs.contract import environment
from jobs.contract.experiment import Experiment
from jobs.contract.names import STUDY_CLASSES, Stage
from jobs.contract.stored import layout
from jobs.contract.stored.digest import digest
from jobs.contract.stored.records import Cost, Done
from jobs.contract.task import TaskId
from jobs.films.dataset import FILMS, SCHEMA, films_json, index_bytes
from jobs.runtime.context import Context
from jobs.runtime.store import Store
from tests.jobs.attempts import context_of
from workflows.store.embedded import Server

SIZE = 64
FOLDS = 2
COST = Cost(seconds=2.5, peak_memory=300 << 20, seconds_a_film=0.25)


def index(patients: int = 18) -> pd.DataFrame:
    """A row a film: each patient has one study, every third study two films, of which one carries the boxes."""
    rows = []
    for patient in range(patients):
        study_class = STUDY_CLASSES[patient % 4]
        for film in range(2 if patient % 3 == 0 else 1):
            boxes = [] if study_class == "negative" or film else [[20.0, 30.0, 60.0, 90.0], [90.0, 30.0, 130.0, 80.0]]
            rows.append(
                {
                    **dict.fromkeys(SCHEMA.names),
                    "image": f"film{patient:02d}{film}",
                    "study": f"study{patient:02d}",
                    "series": "s",
                    "patient": f"patient{patient:02d}",
                    "study_class": study_class,
                    "boxes": boxes,
                    "width": 160,
                    "height": 128,
                    "group": patient,
                    "fold": patient // 4 % FOLDS,
                }
            )
    return pd.DataFrame(rows)


def films_table(films: pd.DataFrame, skill: float, seed: int) -> pd.DataFrame:
    """A classifier's table: noise, and as much of the truth as its skill."""
    rng = np.random.default_rng(seed)
    told = rng.random((len(films), 4)) + skill * np.eye(4)[[STUDY_CLASSES.index(one) for one in films["study_class"]]]
    shares = pd.DataFrame(told / told.sum(axis=1, keepdims=True), columns=list(STUDY_CLASSES), index=films.index)
    return pd.concat([films[["image", "study", "patient", "fold"]], shares], axis=1)


def boxes_table(films: pd.DataFrame, skill: float, seed: int) -> pd.DataFrame:
    """A detector's table: each true box displaced, the less the more skilled, and a stray one a film."""
    rng = np.random.default_rng(seed)
    rows = []
    for film in films.to_dict("records"):
        for box in film["boxes"]:
            rows.append(
                (film["image"], *(np.array(box) + rng.normal(0, 60 * (1 - skill), 4)), 0.3 + 0.6 * skill * rng.random())
            )
        rows.append((film["image"], 5.0, 95.0, 45.0, 125.0, 0.3 * rng.random()))
    return pd.DataFrame(rows, columns=["image", "xmin", "ymin", "xmax", "ymax", "confidence"])


def experiment(**changes: object) -> Experiment:
    """A classifier, a detector, two folds."""
    settings: dict[str, object] = {
        "name": "made-up",
        "folds": {"count": FOLDS},
        "classifiers": {"b3": {"size": SIZE}},
        "detectors": {"yolo": {"size": SIZE}},
        "evaluation": {"bootstrap": 50, "gallery": 3},
    }
    return Experiment.model_validate({**settings, **changes})


@dataclass
class World:
    """A store with made-up works, and one run's references to them."""

    store: Store
    folder: Path
    run: str
    films: pd.DataFrame

    def context(self, stage: Stage, of: Experiment, model: str | None = None, fold: int | None = None) -> Context:
        """An attempt at a task of the run, in this process."""
        folder = self.folder / secrets.token_hex(4)
        return context_of(self.store, TaskId(stage, model, fold), of, folder, self.run)

    def result(self, file: str) -> bytes:
        """A file that the run published."""
        return self.store.get(layout.report(self.run, file))

    def another_run(self, without: Sequence[TaskId] = ()) -> "World":
        """A run of its own that stands on the same works, but for the tasks ``without``."""
        run = f"run-{secrets.token_hex(4)}"
        left_out = {layout.reference(self.run, task) for task in without}
        for entry in self.store.list(f"{layout.run(self.run)}/"):
            if entry.key not in left_out:
                key = entry.key.replace(layout.run(self.run), layout.run(run))
                self.store.put(key, self.store.get(entry.key))
        return replace(self, run=run)

    def prepare(self, films: pd.DataFrame) -> str:
        """Leave what prepare would; returns the dataset's hash."""
        context = self.context(Stage.PREPARE, experiment())
        (context.scratch / "index.parquet").write_bytes(index_bytes(films))
        pixels = np.random.default_rng(0).integers(0, 255, (len(films), SIZE, SIZE), dtype=np.uint8)
        np.save(context.scratch / "shard-000.npy", pixels)
        (context.scratch / FILMS).write_text(films_json(sorted(films["image"])))
        made = self._finish(context, "index", {"films": digest(films.to_json())}, ["index.parquet"])
        dataset = made.outputs["index.parquet"].sha256
        pack = self._finish(context, f"pack-{SIZE}", {"dataset": dataset}, [FILMS, "shard-000.npy"])
        context.refer({"index": made.digest, f"pack-{SIZE}": pack.digest}, {})
        return dataset

    def train(self, of: Experiment, dataset: str, model: str, fold: int) -> None:
        """Leave what a training task would: weights with their curve, out-of-fold and untrained predictions."""
        detects = model in of.detectors
        context = self.context(Stage.TRAIN_DETECTOR if detects else Stage.TRAIN_CLASSIFIER, of, model, fold)
        epochs = [
            {"epoch": n, "stage": 0, "train_score": 0.3 + n / 10, "val_score": 0.3 + n / 20, "seconds": 1.0}
            for n in range(4)
        ]
        (context.scratch / "curve.json").write_text(json.dumps({"epochs": epochs}))
        inputs = {"dataset": dataset, "model": model, "fold": fold}
        weights = self._finish(context, "weights", inputs, ["curve.json"])
        held_out = self.films[self.films["fold"] == fold]
        file, table = ("boxes.parquet", boxes_table) if detects else ("films.parquet", films_table)
        for name, skill in ((file, 0.9), (f"untrained-{file}", 0.0)):
            table(held_out, skill, fold).to_parquet(context.scratch / name, index=False)
        oof = self._finish(context, "oof", {"weights": weights.digest}, [file, f"untrained-{file}"])
        context.refer({"weights": weights.digest, "oof": oof.digest}, {})

    def search(self, of: Experiment, model: str, fold: int, scores: Sequence[float], seconds: float) -> None:
        """Say of a done training that it was the best of a search, whose candidates' curves took so long each."""
        context = self.context(Stage.TRAIN_DETECTOR, of, model, fold)
        rows = [{"score": score, "settings": {"lr": 0.01 - n / 1000, "mosaic": 1.0}} for n, score in enumerate(scores)]
        (context.scratch / "candidates.json").write_text(json.dumps(rows))
        curve = {"epochs": [{"epoch": 0, "val_score": 0.1, "seconds": seconds}]}
        curves = [f"curve-{number:03d}.json" for number in range(1, len(scores) + 1)]
        for name in curves:
            (context.scratch / name).write_text(json.dumps(curve))
        works = context.upstream(context.task).works
        work = context.work("search", {"start": works["weights"]})
        paths = {name: context.scratch / name for name in ("candidates.json", *curves)}
        search = work.finish(paths, {"start": scores[0], "best": max(scores)}, COST)
        self.store.put(layout.recipe(self.run, model, fold), f"name: evolved-on-{fold}\n".encode())
        context.refer({"search": search.digest, **works}, {})

    def predict(self, of: Experiment, dataset: str, model: str, fold: int) -> None:
        """Leave what predict would on a test set."""
        context = self.context(Stage.PREDICT, of, model, fold)
        file, table = ("boxes.parquet", boxes_table) if model in of.detectors else ("films.parquet", films_table)
        table(self.films, 0.9, fold).drop(columns="fold", errors="ignore").to_parquet(context.scratch / file)
        inputs = {"dataset": dataset, "model": model, "fold": fold}
        done = self._finish(context, "predictions", inputs, [file], seconds_a_film=2.0)
        context.refer({"predictions": done.digest}, {})

    @staticmethod
    def _finish(
        context: Context,
        kind: str,
        inputs: dict[str, object],
        files: Sequence[str],
        **scores: float,
    ) -> Done:
        return context.work(kind, inputs).finish({name: context.scratch / name for name in files}, scores, COST)


@contextmanager
def made_up_world(server: Server, folder: Path) -> Iterator[World]:
    """A store of its own with a run whose trainings are done."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        patch.setenv(environment.STORE, f"{os.environ[environment.STORE]}/test-{secrets.token_hex(4)}")
        world = World(Store.from_environment(), folder, "made-up-run", index())
        dataset, of = world.prepare(world.films), experiment()
        for model in (*of.classifiers, *of.detectors):
            for fold in range(FOLDS):
                world.train(of, dataset, model, fold)
        yield world
