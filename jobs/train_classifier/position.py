"""The position of a training, from which all its randomness follows."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

EpochMetrics = dict[str, Any]


@dataclass
class Position:
    """How far a training has come.

    Attributes:
        stage: finished learning-rate stages.
        epoch: finished epochs of this stage.
        step: finished steps of this epoch.
        stale: epochs of this stage since the best score last improved.
        loss: sum of the losses of this epoch's steps.
        seconds: time spent on this epoch.
        best: the best score so far.
        curve: the metrics of every finished epoch.
    """

    stage: int = 0
    epoch: int = 0
    step: int = 0
    stale: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    best: float = -math.inf
    curve: list[EpochMetrics] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the position as JSON, which has no infinity: ``best`` is None as long as nothing is scored."""
        return {**asdict(self), "best": self.best if math.isfinite(self.best) else None}

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> "Position":
        """Return the position that :meth:`to_json` wrote."""
        return cls(**{**kept, "best": -math.inf if kept["best"] is None else kept["best"]})


def random_stream(*position: int) -> int:
    """Return a seed for a position in a training; different positions give unrelated seeds."""
    return int(np.random.SeedSequence(position).generate_state(1)[0])
