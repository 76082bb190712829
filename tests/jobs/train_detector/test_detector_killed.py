"""A real training process, killed and stopped at random moments, ends with the bytes of one left alone."""

import random
from pathlib import Path

import pytest

import jobs.train_detector
from jobs.contract import environment
from jobs.contract.experiment import Detector, Evolve
from jobs.runtime.store import Store
from tests.jobs.attempts import TrainingProcess
from tests.jobs.nets.yolo.films import TINY
from tests.jobs.train_detector.conftest import experiment, prepare, training

TRAINING = TINY.model_copy(update={"epochs": 6, "close_mosaic": 2})
SEARCH = TINY.model_copy(update={"epochs": 3, "evolve": Evolve(epochs=12)})


def process(given: dict[str, str], detector: Detector, folder: Path) -> TrainingProcess:
    """The training in a store of its own; it checkpoints at every epoch."""
    folder.mkdir()
    store = Store.beside(f"{given[environment.STORE]}/{folder.name}")
    prepare(store, folder / "prepared")
    return TrainingProcess(
        training(store, experiment(detector), folder), {**given, environment.CHECKPOINT_SECONDS: "0"}
    )


@pytest.mark.slow
@pytest.mark.parametrize(("detector", "files"), [(TRAINING, 4), (SEARCH, 5)], ids=["a-training", "a-search"])
def test_killed_and_stopped_at_random_a_task_ends_bit_equal(
    detector: Detector, files: int, s3_environment: dict[str, str], tmp_path: Path
):
    seed = random.randrange(10**6)
    print(f"moments of seed {seed}")
    alone = process(s3_environment, detector, tmp_path / "alone")
    jobs.train_detector.run(alone.context)
    disturbed = process(s3_environment, detector, tmp_path / "disturbed")
    disturbed.run_disturbed(random.Random(seed), within=0.6)
    assert len(alone.outputs()) == files
    assert disturbed.outputs() == alone.outputs()
