"""A real training process, killed and stopped at random moments, ends with the bytes of one left alone."""

import random
from pathlib import Path

import pytest

from jobs.contract import environment
from jobs.contract.exits import Exit
from jobs.contract.experiment import LearningStage
from jobs.films.dataset import Dataset
from jobs.runtime.store import Store
from tests.jobs.attempts import TrainingProcess
from tests.jobs.nets.classifier.films import TINY
from tests.jobs.train_classifier.conftest import prepare, training

LONG = TINY.model_copy(
    update={
        "stages": (LearningStage(lr=1e-2, epochs=3), LearningStage(lr=1e-3, epochs=2)),
        "optimizer": "madgrad", "augment": "strong", "dropout": 0.3, "ema": 0.9, "ema_warmup": 1.0,
        "mixup": 0.4, "cutmix": 1.0, "class_weights": "balanced", "focal": 1.0,
    }
)  # fmt: skip


def process(given: dict[str, str], dataset: Dataset, folder: Path) -> TrainingProcess:
    """The training in a store of its own; it checkpoints at every step."""
    store = Store.beside(f"{given[environment.STORE]}/{folder.name}")
    prepare(store, dataset, LONG, folder)
    return TrainingProcess(training(store, LONG, folder), {**given, environment.CHECKPOINT_SECONDS: "0"})


@pytest.mark.slow
def test_killed_and_stopped_at_random_a_training_ends_bit_equal(
    s3_environment: dict[str, str], dataset: Dataset, tmp_path: Path
):
    seed = random.randrange(10**6)
    print(f"moments of seed {seed}")
    alone = process(s3_environment, dataset, tmp_path / "alone")
    undisturbed = alone.start()
    disturbed = process(s3_environment, dataset, tmp_path / "disturbed")
    disturbed.run_disturbed(random.Random(seed), within=0.3)
    assert undisturbed.wait() == Exit.DONE
    assert len(alone.outputs()) == 5
    assert disturbed.outputs() == alone.outputs()
