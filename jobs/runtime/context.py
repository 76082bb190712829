"""What a stage is given: its place in the run, the store, and what it stands on."""

import os
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from jobs.contract import environment, layout
from jobs.contract.done import Cost, Done, Reference
from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage
from jobs.runtime.progress import Progress
from jobs.runtime.stopping import Stop
from jobs.runtime.store import Missing, Store
from jobs.runtime.work import Work


@dataclass
class Context:
    """One attempt at one task of a run."""

    store: Store
    run: str
    experiment: Experiment
    stage: Stage
    model: str | None
    fold: int | None
    attempt: int
    scratch: Path  # this attempt's own folder
    cache: Path  # shared by what runs on this machine; content-addressed
    threads: int
    stop: Stop
    progress: Progress
    began: float = field(default_factory=time.monotonic)

    def work(self, kind: str, inputs: Mapping[str, object]) -> Work:
        """A piece of this stage's work."""
        work = Work(self.store, self.stage, kind, dict(inputs))
        self.progress.uses(work.prefix)
        return work

    def upstream(self, stage: Stage, model: str | None = None, fold: int | None = None) -> Reference:
        """What an earlier task of this run stands for.

        Raises:
            BadInput: where it has not run; names it and the command that runs it.
        """
        try:
            return Reference.model_validate(self.store.get_json(layout.reference(self.run, stage, model, fold)))
        except Missing as error:
            options = (f" --model {model}" if model else "") + (f" --fold {fold}" if fold is not None else "")
            raise BadInput(
                f"{stage}{options.replace(' --', ' ')} of run {self.run} is not done: "
                f"run python -m jobs {stage}{options} first, or resume the run."
            ) from error

    def open_work(self, stage: Stage, digest: str) -> tuple[Work, Done]:
        """Finished work of another stage, by its digest.

        Raises:
            BadInput: where it was removed from the store.
        """
        self.progress.uses(layout.work(stage, digest))
        try:
            return Work.finished(self.store, stage, digest)
        except Missing as error:
            raise BadInput(
                f"{self.store.url}/{layout.work(stage, digest)} is gone: resume the run {self.run} to make it again."
            ) from error

    def refer(self, works: dict[str, str], scores: dict[str, float]) -> None:
        """Say in the run's tree which work this task stands for."""
        reference = Reference(
            run=self.run, stage=self.stage, model=self.model, fold=self.fold, works=works, scores=scores,
            attempt=self.attempt, created=datetime.now(UTC),
        )  # fmt: skip
        key = layout.reference(self.run, self.stage, self.model, self.fold)
        self.store.put_json(key, reference.model_dump(mode="json"))

    def device(self) -> str:
        """``cuda`` or ``cpu``: what the task asked for.

        Raises:
            BadInput: where it asked for a GPU, there is none, and the profile does not allow the CPU.
        """
        import torch

        asked = int(os.environ.get(environment.GPUS) or 0)
        if torch.cuda.is_available():
            return "cuda"
        if asked and os.environ.get(environment.ALLOW_CPU) != "1":
            raise BadInput(
                f"The task asked for {asked} GPU and PyTorch finds none. On the node, nvidia-smi must work (driver) "
                "and the pod must be given the device (NVIDIA device plugin; gpu.runtime_class in the profile where "
                "NVIDIA's runtime is not the node's default). With gpu.allow_cpu: true it trains on the CPU instead."
            )
        return "cpu"

    def cost(self) -> Cost:
        """What this attempt took so far."""
        own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        torch = sys.modules.get("torch")
        on_gpu = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
        return Cost(
            seconds=time.monotonic() - self.began,
            peak_memory=max(own, children) * 1024,
            peak_gpu_memory=torch.cuda.max_memory_allocated() if on_gpu and torch else 0,
            device=torch.cuda.get_device_name() if on_gpu and torch else "cpu",
        )
