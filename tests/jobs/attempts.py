"""Attempts at tasks for tests: in this process, and as processes of their own that signals end."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jobs.contract import environment
from jobs.contract.exits import Exit
from jobs.contract.experiment import Experiment
from jobs.contract.stored import layout
from jobs.contract.stored.records import Cost, Done
from jobs.contract.task import TaskId
from jobs.films.dataset import Dataset
from jobs.runtime.context import Context, Settings
from jobs.runtime.preemption import Stop
from jobs.runtime.store import Store
from jobs.runtime.telemetry.progress import Progress

RUN = "tiny-run"


def context_of(store: Store, task: TaskId, experiment: Experiment, folder: Path, run: str = RUN) -> Context:
    """An attempt at a task, in this process."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True, parents=True)
    return Context(
        store=store, run=run, experiment=experiment, task=task, attempt=0, scratch=scratch, cache=folder / "cache",
        threads=1, stop=Stop(), progress=Progress(store, run, task, 0, folder / "log"),
        settings=Settings.from_environment(),
    )  # fmt: skip


def finish_prepare(context: Context, dataset: Dataset, sizes: Iterable[int]) -> None:
    """Leave in the store what the stage prepare would."""
    cost = Cost(seconds=0, peak_memory=0)
    index = {"index.parquet": dataset.folder / "index.parquet"}
    works = {"index": context.work("index", {"version": 0}).finish(index, {}, cost).digest}
    for size in sizes:
        shards = {path.name: path for path in (dataset.folder / f"pack-{size}").iterdir()}
        works[f"pack-{size}"] = context.work(f"pack-{size}", {"version": 0}).finish(shards, {}, cost).digest
    context.refer(works, {})


def works_of(context: Context) -> dict[str, Done]:
    """The finished works of the context's own task, by kind."""
    works = context.upstream(context.task).works
    return {kind: context.open_work(context.task.stage, digest)[1] for kind, digest in works.items()}


@dataclass
class TrainingProcess:
    """A training task that runs as ``python -m jobs``, each attempt a process.

    Args:
        context: the task, its store and its experiment.
        environment: of the test (``s3_environment``), and what else the process needs.
    """

    context: Context
    environment: dict[str, str]

    def __post_init__(self) -> None:
        self.environment = {
            **self.environment,
            environment.STORE: self.context.store.url,
            environment.RUN: self.context.run,
            environment.EXPERIMENT: self.context.experiment.model_dump_json(),
            environment.THREADS: "1",
        }

    def start(self) -> subprocess.Popen[bytes]:
        """Begin an attempt."""
        task = self.context.task
        command = [sys.executable, "-m", "jobs", task.stage, *task.options.split()]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run_disturbed(self, moment: random.Random, within: float) -> None:
        """Kill a first attempt, stop a second, and let a third finish: each at most ``within`` s after a checkpoint."""
        assert self._end(moment.uniform(0, within), signal.SIGKILL) == -signal.SIGKILL
        assert self._end(moment.uniform(0, within), signal.SIGTERM) == Exit.CHECKPOINTED
        assert self.start().wait() == Exit.DONE

    def _end(self, delay: float, how: signal.Signals) -> int:
        """The exit code of an attempt that is ended some seconds after it wrote a checkpoint."""
        before, process = self._checkpoint(), self.start()
        while self._checkpoint() == before:
            assert process.poll() is None, f"ended with {process.returncode} before it wrote a checkpoint"
            time.sleep(0.02)
        time.sleep(delay)
        process.send_signal(how)
        return process.wait()

    def _checkpoint(self) -> str:
        """Which checkpoint is the latest; empty where there is none."""
        for entry in self.context.store.list(f"{layout.WORK}{self.context.task.stage}/"):
            if entry.key.endswith("/latest.json"):
                return entry.etag
        return ""

    def outputs(self) -> dict[str, str]:
        """SHA-256 of every output of the task, but for the curves, which hold seconds."""
        outputs = [done.outputs for done in works_of(self.context).values()]
        return {name: output.sha256 for one in outputs for name, output in one.items() if not name.startswith("curve")}
