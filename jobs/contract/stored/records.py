"""Stored records. ``DONE.json`` holds inputs and outputs of a piece of work; written last, it means finished."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from jobs.contract.names import Stage


class Record(BaseModel):
    """A stored JSON record. Unknown keys are ignored, so that older code reads newer records."""

    model_config = ConfigDict(frozen=True)


FORMAT: Final = 1  # raised when older code would misread newer records, or newer code older ones


class StoredRecord(Record):
    """A record that is an object of its own in the store."""

    format: Literal[1] = FORMAT


class Output(Record):
    """A stored object of a piece of work."""

    key: str
    sha256: str
    size: int


# Scores that are a quantity: its unit replaces the name.
UNITS: Final = {"competition_hours": "hours for the competition's films", "seconds_a_film": "seconds per film"}


def score_text(scores: Mapping[str, float]) -> str:
    """Scores as people read them: ``map4 0.6123``, ``0.25 hours for …``, and counts without decimals."""
    return " ".join(_score_text(name, score) for name, score in scores.items())


def _score_text(name: str, score: float) -> str:
    if name in UNITS:
        return f"{score:.3g} {UNITS[name]}"
    return f"{name} {score:.0f}" if score > 1 and score == int(score) else f"{name} {score:.4f}"


def without_text(missing_folds: Sequence[int]) -> str:
    """Suffix for a score computed without some folds, e.g. ``' without fold 2'``; empty where none is missing."""
    return f" without fold {', '.join(map(str, missing_folds))}" if missing_folds else ""


class Cost(Record):
    """Time and memory that a piece of work took."""

    seconds: float  # of all attempts at its task up to then
    peak_memory: int  # bytes of resident memory
    peak_gpu_memory: int = 0  # bytes
    device: str = "cpu"
    precision: str = ""  # that a net computed in, e.g. bf16; empty where there was none
    seconds_a_film: float = 0.0  # of inference; 0 where there was none
    spent: dict[str, float] = {}  # seconds of training by what they were spent on: waiting (for films), training …


class Done(StoredRecord):
    """A finished piece of work."""

    stage: Stage
    kind: str  # e.g. weights, oof, index, pack-512
    digest: str  # SHA-256 of ``inputs``
    inputs: dict[str, Any]
    outputs: dict[str, Output]
    scores: dict[str, float]
    cost: Cost
    revision: str
    versions: dict[str, str]
    created: datetime


class Reference(StoredRecord):
    """The works of a task of a run, kind → digest, and its headline scores."""

    run: str
    stage: Stage
    model: str | None = None
    fold: int | None = None
    works: dict[str, str]
    scores: dict[str, float]
    attempt: int
    created: datetime


class TrainedFold(Record):
    """The weights of a model and fold of a run, and the films that they were trained on."""

    stage: Stage
    weights: str  # digest of the training
    index: str  # digest of the index of its films
    select: Literal["best", "last"] = "best"  # which of its weights


class Heartbeat(StoredRecord):
    """State of a task, stored every 30 seconds and at each phase; the board reads it."""

    stage: Stage
    model: str | None = None
    fold: int | None = None
    phase: str  # e.g. starting, loading, training, predicting, done, stopped, failed
    attempt: int
    at: datetime
    started: datetime  # of this attempt
    earlier: float = 0.0  # seconds that the attempts before it took
    epoch: float | None = None  # epochs done, fractional
    epochs: int | None = None
    step: int | None = None
    steps: int | None = None
    films_per_second: float | None = None
    best: float | None = None
    eta: float | None = None  # seconds
    node: str = ""
    memory: int = 0  # bytes resident
    message: str = ""
    exit_code: int | None = None
    spent: dict[str, float] = {}  # seconds of this attempt: waiting (for films), training, evaluating, writing
    pending: float = 0.0  # seconds from the pod's creation until it had a node
    pulling: float = 0.0  # seconds from then until its process started: images, volumes, Argo's init container
    importing: float = 0.0  # seconds from then until ``started``
    gpus: int = 0  # that the task holds
    gpu: str = ""  # the GPU's model
    saved: datetime | None = None  # when everything done so far was last stored
    works: tuple[str, ...] = ()  # prefixes of the works that the task makes or reads, finished or not


class Receiver(Record):
    """One address of a notice, without its secrets, and whether it accepted the notice."""

    address: str
    told: bool = False
    problem: str = ""


class Notice(StoredRecord):
    """What people are told when a workflow of a run ends. Stored before it is sent, so that nobody is told twice."""

    run: str
    workflow: str
    status: str  # succeeded, degraded, stopped or failed
    title: str
    text: str
    sender: str  # the attempt that sends it
    at: datetime
    receivers: tuple[Receiver, ...] | None = None  # None until all of them were tried

    @property
    def problems(self) -> str:
        """A sentence if not every receiver was told; empty otherwise."""
        if self.receivers is None:
            return f"Whether anybody was told that {self.workflow} ended is not known: the exit handler was killed."
        untold = [f"{receiver.address} ({receiver.problem})" for receiver in self.receivers if not receiver.told]
        return f"Not told that {self.workflow} ended: {', '.join(untold)}." if untold else ""
