"""DONE.json: what went into a piece of work and what came out. Written last, so its presence means finished."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from jobs.contract.names import Stage


class Record(BaseModel):
    """A stored JSON record. Unknown keys are ignored, so that older code reads newer records."""

    model_config = ConfigDict(frozen=True)


class Output(Record):
    """One object that a piece of work left in the store."""

    key: str
    sha256: str
    size: int


def score_text(scores: Mapping[str, float]) -> str:
    """Scores as people read them: ``map4 0.6123``, and counts without decimals."""
    return " ".join(
        f"{name} {score:.0f}" if score > 1 and score == int(score) else f"{name} {score:.4f}"
        for name, score in scores.items()
    )


def without_text(missing_folds: Sequence[int]) -> str:
    """What to say behind a score that was made without lost folds: `` without fold 2``; nothing where none is lost."""
    return f" without fold {', '.join(map(str, missing_folds))}" if missing_folds else ""


class Cost(Record):
    """What a piece of work took, over its last attempt."""

    seconds: float
    peak_memory: int  # bytes of resident memory
    peak_gpu_memory: int = 0  # bytes
    device: str = "cpu"


class Done(Record):
    """A finished piece of work."""

    stage: Stage
    kind: str  # which of a stage's works: weights, oof, index, pack-512 …
    digest: str  # SHA-256 of ``inputs``
    inputs: dict[str, Any]
    outputs: dict[str, Output]
    scores: dict[str, float]
    cost: Cost
    revision: str
    versions: dict[str, str]
    created: datetime


class Reference(Record):
    """What a task of a run stands for: kind of work → its digest, and the headline scores."""

    run: str
    stage: Stage
    model: str | None = None
    fold: int | None = None
    works: dict[str, str]
    scores: dict[str, float]
    attempt: int
    created: datetime


class Heartbeat(Record):
    """A task's latest sign of life, every 30 seconds and at each phase: what the board reads."""

    stage: Stage
    model: str | None = None
    fold: int | None = None
    phase: str  # starting, loading, training, predicting, done, stopped, failed …
    attempt: int
    at: datetime
    started: datetime
    epoch: float | None = None  # epochs finished, fractional
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
    works: tuple[str, ...] = ()  # prefixes of the work it makes or reads, finished or not
