"""A prepare of its own, in this process, on a phantom that a test may spoil."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.contract.experiment import Classifier, Data, Detector, Experiment, Folds
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.task import TaskId
from jobs.films.phantom.files import write_phantom
from jobs.runtime.context import Context
from jobs.runtime.store import Store
from tests.jobs.attempts import RUN, context_of

Make = Callable[..., Context]


@pytest.fixture
def context(s3_store: Store, tmp_path: Path) -> Make:
    """A context of prepare for a source."""
    (tmp_path / "cache").mkdir()

    def make(source: Path | str, sizes: tuple[int, int] = (32, 64), folds: int = 3, **data: Any) -> Context:
        folder = tmp_path / "attempts" / str(len(list(tmp_path.glob("attempts/*"))))
        experiment = Experiment(
            name="tiny",
            data=Data(source=str(source), **data),
            folds=Folds(count=folds),
            classifiers={"net": Classifier(size=sizes[0])},
            detectors={"yolo": Detector(size=sizes[1])},
        )
        given = context_of(s3_store, TaskId(Stage.PREPARE), experiment, folder)
        return replace(given, cache=tmp_path / "cache", threads=2)

    return make


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom(tmp_path_factory.mktemp("films"), patients=8, seed=2, size=96, table=True)


@pytest.fixture
def films(phantom: Path, tmp_path: Path) -> Path:
    """A copy of the phantom that a test may spoil."""
    return Path(shutil.copytree(phantom, tmp_path / "films"))


def works(store: Store) -> dict[str, str]:
    """Digest of each work of the run, by name."""
    return dict(store.get_json(layout.reference(RUN, TaskId(Stage.PREPARE)))["works"])
