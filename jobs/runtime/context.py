"""What a stage is given: its task, the experiment, the store, folders and progress."""

import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from jobs.contract import environment
from jobs.contract.exits import BadInput, Damaged, DeviceFailed
from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Cost, Done, Reference
from jobs.contract.task import TaskId
from jobs.runtime.failures.no_gpu import Surroundings, why_no_gpu, why_unsupported
from jobs.runtime.preemption import Stop
from jobs.runtime.store import Missing, Store
from jobs.runtime.telemetry.progress import Progress
from jobs.runtime.work import Work

PAUSES: Final = (1.0, 2.0)  # seconds before what is not there is looked for again
Record = TypeVar("Record")


@dataclass(frozen=True)
class Settings:
    """Settings from the environment besides the run and its store.

    Attributes:
        from_run: the run whose weights predict a test set; None where the run trains.
        drop_overlap: whether labelled test films that training has seen are left out of the scores; else refused.
        gpus: number of GPUs that the task requests.
        allow_cpu: whether to use the CPU where there is no GPU.
        checkpoint_seconds: least time between two checkpoints of a training, the work that SIGKILL may cost; SIGTERM
            costs a classifier nothing, a detector the epoch begun.
        pushgateway: address of a Prometheus Pushgateway.
    """

    from_run: str | None = None
    drop_overlap: bool = False
    gpus: int = 0
    allow_cpu: bool = False
    checkpoint_seconds: float = 180.0
    pushgateway: str | None = None

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read them from :mod:`jobs.contract.environment`."""
        return cls(
            from_run=os.environ.get(environment.FROM_RUN) or None,
            drop_overlap=os.environ.get(environment.OVERLAP) == "drop",
            gpus=int(environment.number(environment.GPUS)),
            allow_cpu=os.environ.get(environment.ALLOW_CPU) == "1",
            checkpoint_seconds=environment.number(environment.CHECKPOINT_SECONDS, cls.checkpoint_seconds),
            pushgateway=os.environ.get(environment.PUSHGATEWAY) or None,
        )


@dataclass
class Context:
    """One attempt at one task of a run."""

    store: Store
    run: str
    experiment: Experiment
    task: TaskId
    attempt: int
    scratch: Path  # this attempt's folder for temporary files
    cache: Path  # shared by the processes of a machine; content-addressed
    threads: int
    stop: Stop
    progress: Progress
    settings: Settings = field(default_factory=Settings)
    earlier: float = 0.0  # seconds that earlier attempts at the task took
    began: float = field(default_factory=time.monotonic)

    @property
    def model(self) -> str:
        """Name of the task's model; only for stages that run once per model and fold."""
        assert self.task.model is not None
        return self.task.model

    @property
    def fold(self) -> int:
        """The held-out fold; only for stages that run once per model and fold."""
        assert self.task.fold is not None
        return self.task.fold

    def work(self, kind: str, inputs: Mapping[str, object]) -> Work:
        """Open a piece of this stage's work, finished or not."""
        work = Work(self.store, self.task.stage, kind, dict(inputs))
        self.progress.uses(work.prefix)
        return work

    def once(self, kind: str, inputs: Mapping[str, object], make: Callable[[Work], Done]) -> Done:
        """Return the record of a piece of this stage's work; ``make`` is called only where the work is not finished.

        Args:
            kind: e.g. ``weights``.
            inputs: everything that the result depends on, as JSON.
            make: does the work and returns its record.
        """
        work = self.work(kind, inputs)
        if (done := work.done()) is None:
            done = make(work)
            self.progress.saved()
        return done

    def reference(self, run: str, task: TaskId) -> Reference:
        """Return the reference of a task of a run.

        Raises:
            Missing: the task is not done.
            Damaged: the reference cannot be read; it was removed.
        """
        key = layout.reference(run, task)
        try:
            return self.store.get_record(key, Reference)
        except Damaged as error:
            self.store.delete([key])
            raise Damaged(f"{error} It was removed; {task.stage} stores it again: resume run {run}.") from error

    def upstream(self, task: TaskId) -> Reference:
        """Return the reference of an earlier task of this run.

        Raises:
            BadInput: the task is not done; the message has the command that runs it.
        """
        try:
            return self._again(lambda: self.reference(self.run, task))
        except Missing as error:
            raise BadInput(
                f"{task} of run {self.run} is not done: run python -m jobs {task.stage}{task.options} first, or resume "
                "the run."
            ) from error

    @property
    def prepared(self) -> Reference:
        """Reference of this run's prepare.

        Raises:
            BadInput: prepare is not done.
        """
        return self.upstream(TaskId(Stage.PREPARE))

    def open_work(self, stage: Stage, digest: str) -> tuple[Work, Done]:
        """Open finished work of another stage by its digest.

        Raises:
            BadInput: it was deleted from the store.
        """
        self.progress.uses(layout.work(stage, digest))
        try:
            return self._again(lambda: Work.finished(self.store, stage, digest))
        except Missing as error:
            raise BadInput(
                f"{self.store.url}/{layout.work(stage, digest)} was deleted: resume run {self.run} to make it again."
            ) from error

    def _again(self, read: Callable[[], Record]) -> Record:
        """Read what an earlier task has stored. A store of several servers may not have it everywhere yet.

        Raises:
            Missing: it is not there after some seconds either.
        """
        for pause in PAUSES:
            with suppress(Missing):
                return read()
            self.stop.wait(pause)
        return read()

    def refer(self, works: dict[str, str], scores: dict[str, float]) -> None:
        """Store the reference from this task of the run to its works."""
        reference = Reference(
            run=self.run, stage=self.task.stage, model=self.task.model, fold=self.task.fold, works=works,
            scores=scores, attempt=self.attempt, created=datetime.now(UTC),
        )  # fmt: skip
        self.store.put_json(layout.reference(self.run, self.task), reference.model_dump(mode="json"))

    def device(self) -> str:
        """Return ``cuda`` where there is a GPU, else ``cpu``.

        Raises:
            DeviceFailed: the task requests a GPU, this node has none, and the profile does not allow the CPU.
            BadInput: the same where PyTorch is built without CUDA; or PyTorch does not support the GPU.
        """
        import torch

        requested = self.settings.gpus
        if torch.cuda.is_available():
            if too_old := why_unsupported(torch.cuda.get_device_capability(), torch.cuda.get_arch_list()):
                raise BadInput(f"{torch.cuda.get_device_name()} {too_old}")
            self.progress.on_gpu(torch.cuda.get_device_name())
            return "cuda"
        if requested and not self.settings.allow_cpu:
            why = why_no_gpu(Surroundings.look(torch.version.cuda))
            raise (DeviceFailed if torch.version.cuda else BadInput)(  # another node may have one
                f"The task requests {requested} GPU and PyTorch finds none. {why} "
                "With gpu.allow_cpu: true it trains on the CPU instead."
            )
        return "cpu"

    def cost(self, precision: str = "", seconds_a_film: float = 0.0) -> Cost:
        """Time of all attempts at the task so far, and the memory that this one took.

        Args:
            precision: that a net computed in; empty where there was none.
            seconds_a_film: of inference; 0 where there was none.
        """
        own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        torch = sys.modules.get("torch")
        on_gpu = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
        return Cost(
            seconds=self.earlier + time.monotonic() - self.began,
            peak_memory=max(own, children) * 1024,
            peak_gpu_memory=torch.cuda.max_memory_allocated() if on_gpu and torch else 0,
            device=torch.cuda.get_device_name() if on_gpu and torch else "cpu",
            precision=precision,
            seconds_a_film=seconds_a_film,
            spent=dict(self.progress.spent.seconds),
        )
