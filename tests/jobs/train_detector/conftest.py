"""A run whose prepare is done: tiny films in the store, and an experiment with one tiny detector."""

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.contract.experiment import Detector, DetectorInference, Experiment, Folds
from jobs.contract.names import Stage
from jobs.contract.records import Cost
from jobs.runtime.context import Context
from jobs.runtime.preemption import Stop
from jobs.runtime.store import Store
from jobs.runtime.telemetry.progress import Progress
from tests.jobs.nets.yolo_films import TINY, write_films

RUN = "tiny-run"
SIZES = (64, 96)

NewContext = Callable[..., Context]


def experiment(detector: Detector = TINY, **inference: object) -> Experiment:
    """Three folds, of which the first is trained."""
    chosen = detector.model_copy(update={"inference": DetectorInference(**inference)})
    return Experiment(name="tiny", folds=Folds(count=3, run=(0,)), detectors={"yolo": chosen})


def prepare(store: Store, folder: Path) -> None:
    """Leave in the store what the stage prepare would."""
    folder.mkdir()
    dataset = write_films(folder, sizes=SIZES)
    context = context_of(store, Stage.PREPARE, experiment(), folder)
    cost = Cost(seconds=0, peak_memory=0)
    index = {"index.parquet": folder / "index.parquet"}
    works = {"index": context.work("index", {"version": 0}).finish(index, {}, cost).digest}
    for size in SIZES:
        shards = {path.name: path for path in (dataset.folder / f"pack-{size}").iterdir()}
        works[f"pack-{size}"] = context.work(f"pack-{size}", {"version": 0}).finish(shards, {}, cost).digest
    context.refer(works, {})


def context_of(store: Store, stage: Stage, tiny: Experiment, folder: Path) -> Context:
    """An attempt at a task, in this process."""
    (folder / "scratch").mkdir(exist_ok=True)
    model, fold = ("yolo", 0) if stage is Stage.TRAIN_DETECTOR else (None, None)
    return Context(
        store=store, run=RUN, experiment=tiny, stage=stage, model=model, fold=fold, attempt=0,
        scratch=folder / "scratch", cache=folder / "cache", threads=1, stop=Stop(),
        progress=Progress(store, RUN, stage, model, fold, 0, folder / "log"),
    )  # fmt: skip


@pytest.fixture
def prepared(s3_store: Store, tmp_path: Path) -> Store:
    """A store in which the run's prepare is done."""
    prepare(s3_store, tmp_path / "prepared")
    return s3_store


@pytest.fixture
def attempt(prepared: Store, tmp_path: Path) -> NewContext:
    """An attempt at training the detector; its arguments are settings of the inference, or another detector."""

    def make(detector: Detector = TINY, **inference: object) -> Context:
        return context_of(prepared, Stage.TRAIN_DETECTOR, experiment(detector, **inference), tmp_path)

    return make
