"""A real training process, killed and stopped at random moments, ends with the bytes of one left alone."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import jobs.train_detector
from jobs.contract import environment
from jobs.contract.exits import Exit
from jobs.contract.experiment import Detector, Evolve
from jobs.contract.names import Stage
from jobs.runtime.context import Context
from jobs.runtime.store import Store
from tests.jobs.nets.yolo_films import TINY
from tests.jobs.train_detector.conftest import RUN, context_of, experiment, prepare

TRAINING = TINY.model_copy(update={"epochs": 6, "close_mosaic": 2})
SEARCH = TINY.model_copy(update={"epochs": 3, "evolve": Evolve(epochs=12)})


class Place:
    """A store of its own, in which the training runs as a process."""

    def __init__(
        self, given: dict[str, str], name: str, detector: Detector, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = folder / name
        folder.mkdir()
        self.experiment = experiment(detector)
        url = f"{given[environment.STORE]}/{name}"
        monkeypatch.setenv(environment.STORE, url)
        self.store = Store.from_environment()
        prepare(self.store, folder / "prepared")
        self.folder = folder
        self.environment = {
            **given, environment.STORE: url, environment.RUN: RUN, environment.THREADS: "1",
            environment.EXPERIMENT: self.experiment.model_dump_json(),
        }  # fmt: skip

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "jobs", Stage.TRAIN_DETECTOR, "--model", "yolo", "--fold", "0"]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def checkpoint(self) -> str:
        """What the pointer to the latest checkpoint says; empty where there is none."""
        for entry in self.store.list(f"work/{Stage.TRAIN_DETECTOR}/"):
            if entry.key.endswith("/latest.json"):
                return entry.etag
        return ""

    def end_at_random(self, moment: random.Random, how: signal.Signals) -> int:
        """Start, wait for a new checkpoint, and end the process within the next epochs."""
        before, process = self.checkpoint(), self.start()
        while self.checkpoint() == before:
            assert process.poll() is None, f"ended with {process.returncode} before it wrote a checkpoint"
            time.sleep(0.02)
        time.sleep(moment.uniform(0, 0.6))
        process.send_signal(how)
        return process.wait()

    def context(self) -> Context:
        return context_of(self.store, Stage.TRAIN_DETECTOR, self.experiment, self.folder)

    def outputs(self) -> dict[str, str]:
        context = self.context()
        works = context.upstream(Stage.TRAIN_DETECTOR, "yolo", 0).works
        found = {kind: context.open_work(Stage.TRAIN_DETECTOR, digest)[1].outputs for kind, digest in works.items()}
        return {
            name: output.sha256
            for outputs in found.values()
            for name, output in outputs.items()
            if not name.startswith("curve")  # it tells seconds
        }


@pytest.mark.slow
@pytest.mark.parametrize(("detector", "files"), [(TRAINING, 4), (SEARCH, 5)], ids=["a-training", "a-search"])
def test_killed_and_stopped_at_random_a_task_ends_bit_equal(
    detector: Detector, files: int, s3_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seed = random.randrange(10**6)
    print(f"moments of seed {seed}")
    moment = random.Random(seed)
    alone = Place(s3_environment, "alone", detector, tmp_path, monkeypatch)
    jobs.train_detector.run(alone.context())
    disturbed = Place(s3_environment, "disturbed", detector, tmp_path, monkeypatch)
    assert disturbed.end_at_random(moment, signal.SIGKILL) == -signal.SIGKILL
    assert disturbed.end_at_random(moment, signal.SIGTERM) == Exit.CHECKPOINTED
    assert disturbed.start().wait() == Exit.DONE
    assert len(alone.outputs()) == files
    assert disturbed.outputs() == alone.outputs()
