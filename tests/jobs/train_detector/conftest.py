"""A run whose prepare is done: tiny films in the store, and an experiment with one tiny detector."""

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.contract.experiment import Detector, DetectorInference, Experiment, Folds
from jobs.contract.names import Stage
from jobs.contract.task import TaskId
from jobs.runtime.context import Context
from jobs.runtime.store import Store
from tests.jobs.attempts import context_of, finish_prepare
from tests.jobs.nets.yolo.films import TINY, write_films

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
    finish_prepare(context_of(store, TaskId(Stage.PREPARE), experiment(), folder), dataset, SIZES)


def training(store: Store, tiny: Experiment, folder: Path) -> Context:
    """An attempt at training the detector, in this process."""
    return context_of(store, TaskId(Stage.TRAIN_DETECTOR, "yolo", 0), tiny, folder)


@pytest.fixture
def prepared(s3_store: Store, tmp_path: Path) -> Store:
    """A store in which the run's prepare is done."""
    prepare(s3_store, tmp_path / "prepared")
    return s3_store


@pytest.fixture
def attempt(prepared: Store, tmp_path: Path) -> NewContext:
    """An attempt at training the detector; its arguments are settings of the inference, or another detector."""

    def make(detector: Detector = TINY, **inference: object) -> Context:
        return training(prepared, experiment(detector, **inference), tmp_path)

    return make
