"""Tiny trainings of a detector: real nets and films, a checkpoint store in memory, nobody who watches."""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from jobs.contract.experiment import Detector
from jobs.films.dataset import Dataset
from jobs.nets.yolo.arguments import Setup
from jobs.nets.yolo.data import DetectorFilms
from jobs.nets.yolo.model import initial
from jobs.nets.yolo.trainer import DetectorTraining
from jobs.runtime.checkpoint import State, Tensors
from jobs.runtime.preemption import Stop
from jobs.runtime.telemetry.stopwatch import Stopwatch


class Memory:
    """Checkpoints of one training, kept in memory as the store would give them back."""

    def __init__(self) -> None:
        self.saved: list[tuple[Tensors, State]] = []

    def load(self) -> tuple[Tensors, State] | None:
        return copy.deepcopy(self.saved[-1]) if self.saved else None

    def save(self, tensors: Tensors, state: State) -> None:
        whole = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
        self.saved.append((whole, copy.deepcopy(state)))


class Watcher:
    """Takes progress; asks to stop after so many batches, where it is told to."""

    def __init__(self, stop: Stop | None = None, after: int | None = None) -> None:
        self.stop, self.after, self.losses, self.started = stop, after, [], []
        self.spent, self.tracked = Stopwatch(), []

    def phase(self, name: str, steps: int | None = None, epochs: int | None = None, start: int = 0) -> None:
        self.started.append((name, steps, start))

    def step(self, films: int = 0, loss: float | None = None) -> None:
        self.losses.append(loss)
        if self.stop and len(self.losses) == self.after:
            self.stop.request()

    def epoch(self, number: int, best: float | None = None, **figures: float | None) -> None:
        self.tracked.append((number, figures["val_score"]))

    def earlier_epochs(self, curve: Sequence[dict[str, float]]) -> None:
        self.tracked += [(row["epoch"] + 1, row["val_score"]) for row in curve]

    def say(self, text: str) -> None:
        pass


class Falling(DetectorTraining):
    """A training whose score falls from epoch to epoch."""

    def validate(self) -> float:
        return 1 / (2 + self.epoch)


def setup(dataset: Dataset, detector: Detector, folder: Path, fold: int = 0, seed: int = 3) -> Setup:
    folds = dataset.index["fold"].to_numpy()
    return Setup(
        net=initial(detector, seed),
        train=DetectorFilms.of(dataset, np.flatnonzero(folds != fold), detector.size),
        valid=DetectorFilms.of(dataset, np.flatnonzero(folds == fold), detector.size),
        seed=seed,
        device="cpu",
        threads=1,
        folder=folder,
    )


def training(
    dataset: Dataset, detector: Detector, folder: Path, memory: Memory | None = None, after: int | None = None
) -> DetectorTraining:
    """A training ready to run; it asks itself to stop after ``after`` batches."""
    stop = Stop()
    return DetectorTraining(detector, setup(dataset, detector, folder), memory or Memory(), Watcher(stop, after), stop)


def same(one: Tensors, other: Tensors) -> bool:
    """Whether two sets of tensors are equal bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
