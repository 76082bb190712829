"""Films on disk for trainings in this process, and a run whose prepare is done for whole stages."""

from pathlib import Path

import pytest

from jobs.contract.experiment import Classifier, Experiment, Folds
from jobs.contract.names import Stage
from jobs.contract.records import Cost
from jobs.films.dataset import Dataset
from jobs.runtime.context import Context
from jobs.runtime.preemption import Stop
from jobs.runtime.store import Store
from jobs.runtime.telemetry.progress import Progress
from tests.jobs.nets.classifier_films import write_films

RUN = "tiny-run"
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
    context = context_of(store, Stage.PREPARE, model, folder)
    cost = Cost(seconds=0, peak_memory=0)
    index = {"index.parquet": dataset.folder / "index.parquet"}
    works = {"index": context.work("index", {"version": 0}).finish(index, {}, cost).digest}
    for size in SIZES:
        shards = {path.name: path for path in (dataset.folder / f"pack-{size}").iterdir()}
        works[f"pack-{size}"] = context.work(f"pack-{size}", {"version": 0}).finish(shards, {}, cost).digest
    context.refer(works, {})


def context_of(store: Store, stage: Stage, model: Classifier, folder: Path) -> Context:
    """An attempt at a task, in this process."""
    (folder / "scratch").mkdir(exist_ok=True, parents=True)
    name, fold = ("net", 0) if stage is Stage.TRAIN_CLASSIFIER else (None, None)
    return Context(
        store=store, run=RUN, experiment=experiment(model), stage=stage, model=name, fold=fold, attempt=0,
        scratch=folder / "scratch", cache=folder / "cache", threads=1, stop=Stop(),
        progress=Progress(store, RUN, stage, name, fold, 0, folder / "log"),
    )  # fmt: skip
