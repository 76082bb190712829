"""Films on disk for trainings in this process, and a run whose prepare is done for whole stages."""

from pathlib import Path

import pytest

from jobs.contract.experiment import Classifier, Experiment, Folds
from jobs.contract.names import Stage
from jobs.contract.task import TaskId
from jobs.films.dataset import Dataset
from jobs.runtime.context import Context
from jobs.runtime.store import Store
from tests.jobs.attempts import context_of, finish_prepare
from tests.jobs.nets.classifier.films import write_films

SIZES = (64, 96)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Thirty films at two sizes."""
    return write_films(tmp_path_factory.mktemp("films"), sizes=SIZES)


def experiment(model: Classifier) -> Experiment:
    """Three folds, of which the first is trained."""
    return Experiment(name="tiny", folds=Folds(count=3, run=(0,)), classifiers={"net": model})


def prepare(store: Store, dataset: Dataset, model: Classifier, folder: Path) -> None:
    """Leave in the store what the stage prepare would."""
    finish_prepare(context_of(store, TaskId(Stage.PREPARE), experiment(model), folder), dataset, SIZES)


def training(store: Store, model: Classifier, folder: Path) -> Context:
    """An attempt at training the model, in this process."""
    return context_of(store, TaskId(Stage.TRAIN_CLASSIFIER, "net", 0), experiment(model), folder)
