"""The interface of a tracker."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TrackedTask:
    """What a tracker is told of a task.

    Attributes:
        folder: where the tracker may write; unpacked beside those of other tasks, nothing in it may exclude another.
        run: the run's name.
        task: the task's name, e.g. ``b3-fold-2``.
        experiment: the resolved experiment, as JSON values.
    """

    folder: Path
    run: str
    task: str
    experiment: Mapping[str, Any]


class Tracker(ABC):
    """One task as a run of a tracker. All attempts at a task continue the same one where a server keeps it."""

    @abstractmethod
    def __init__(self, tracked: TrackedTask) -> None:
        """Begin the run, or continue it."""

    @abstractmethod
    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Record an epoch's figures, in order of epochs; one that the server has already is left as it is.

        Args:
            epoch: counted from 1.
            figures: name → value.
        """

    @abstractmethod
    def finish(self) -> None:
        """End the run. What is not sent to a server is whole in the folder."""
