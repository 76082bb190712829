"""A real training process, killed and stopped at random moments, ends with the bytes of one left alone."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.contract import environment
from jobs.contract.exits import Exit
from jobs.contract.experiment import LearningStage
from jobs.contract.names import Stage
from jobs.films.dataset import Dataset
from jobs.runtime.store import Store
from tests.jobs.nets.classifier_films import TINY
from tests.jobs.train_classifier.conftest import RUN, context_of, experiment, prepare

LONG = TINY.model_copy(
    update={
        "stages": (LearningStage(lr=1e-2, epochs=3), LearningStage(lr=1e-3, epochs=2)),
        "optimizer": "madgrad", "augment": "hard", "dropout": 0.3, "ema": 0.9,
    }
)  # fmt: skip


class Place:
    """A store of its own, in which the training runs as a process that keeps every step."""

    def __init__(self, given: dict[str, str], dataset: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.environment = {
            **given, environment.STORE: f"{given[environment.STORE]}/{folder.name}", environment.RUN: RUN,
            environment.THREADS: "1", environment.CHECKPOINT_SECONDS: "0",
            environment.EXPERIMENT: experiment(LONG).model_dump_json(),
        }  # fmt: skip
        monkeypatch.setenv(environment.STORE, self.environment[environment.STORE])
        self.store, self.folder = Store.from_environment(), folder
        prepare(self.store, dataset, LONG, folder)

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "jobs", Stage.TRAIN_CLASSIFIER, "--model", "net", "--fold", "0"]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def checkpoint(self) -> str:
        """What the pointer to the latest checkpoint says; empty where there is none."""
        for entry in self.store.list(f"work/{Stage.TRAIN_CLASSIFIER}/"):
            if entry.key.endswith("/latest.json"):
                return entry.etag
        return ""

    def end_at_random(self, moment: random.Random, how: signal.Signals) -> int:
        """Start, wait for a new checkpoint, and end the process within the next steps."""
        before, process = self.checkpoint(), self.start()
        while self.checkpoint() == before:
            assert process.poll() is None, f"ended with {process.returncode} before it wrote a checkpoint"
            time.sleep(0.02)
        time.sleep(moment.uniform(0, 0.3))
        process.send_signal(how)
        return process.wait()

    def outputs(self) -> dict[str, str]:
        """SHA-256 of all that the stage left, but for the curve, which tells seconds."""
        context = context_of(self.store, Stage.TRAIN_CLASSIFIER, LONG, self.folder)
        works = context.upstream(Stage.TRAIN_CLASSIFIER, "net", 0).works
        done = [context.open_work(Stage.TRAIN_CLASSIFIER, digest)[1] for digest in works.values()]
        found = {name: output.sha256 for one in done for name, output in one.outputs.items()}
        found.pop("curve.json")
        return found


@pytest.mark.slow
def test_killed_and_stopped_at_random_a_training_ends_bit_equal(
    s3_environment: dict[str, str], dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seed = random.randrange(10**6)
    print(f"moments of seed {seed}")
    moment = random.Random(seed)
    alone = Place(s3_environment, dataset, tmp_path / "alone", monkeypatch)
    undisturbed = alone.start()
    disturbed = Place(s3_environment, dataset, tmp_path / "disturbed", monkeypatch)
    assert disturbed.end_at_random(moment, signal.SIGKILL) == -signal.SIGKILL
    assert disturbed.end_at_random(moment, signal.SIGTERM) == Exit.CHECKPOINTED
    assert disturbed.start().wait() == Exit.DONE
    assert undisturbed.wait() == Exit.DONE
    assert len(alone.outputs()) == 5
    assert disturbed.outputs() == alone.outputs()
