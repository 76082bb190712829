"""The GPU hours that a run may use: each of its tasks adds up those of all attempts, and stops when they are spent."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from jobs.contract.costs.attempt import gpu_seconds
from jobs.contract.exits import Damaged, OtherVersion
from jobs.contract.stored import layout
from jobs.contract.stored.records import Heartbeat
from jobs.runtime.store import Missing, Store

CHECK_SECONDS: Final = 60.0  # between two looks at the other attempts


@dataclass
class Budget:
    """The limit of a run, checked from the heartbeat's thread.

    Attributes:
        store: the run's store.
        run: the run's name.
        hours: GPU hours of all its attempts together, also of earlier workflows.
        stop: called with a sentence once they are spent.
    """

    store: Store
    run: str
    hours: float
    stop: Callable[[str], None]
    _read: dict[str, tuple[str, float]] = field(default_factory=dict)  # key → etag, GPU seconds
    _next: float = 0.0  # time.monotonic()

    def check(self) -> None:
        """Add up the attempts, at most once a minute, and stop if the hours are spent."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + CHECK_SECONDS
        spent = self._seconds() / 3600
        if spent >= self.hours:
            self.stop(
                f"Run {self.run} has used {spent:.2f} GPU hours of --max-gpu-hours {self.hours:g}. Everything "
                f"needed to continue is stored: cv.py resume {self.run} --max-gpu-hours MORE."
            )

    def _seconds(self) -> float:
        """GPU seconds of all attempts; only records that changed since the last look are read."""
        for entry in self.store.list(f"{layout.run(self.run)}/"):
            known = self._read.get(entry.key)
            if not layout.is_attempt_record(entry.key) or (known and known[0] == entry.etag):
                continue
            try:
                beat = self.store.get_record(entry.key, Heartbeat)
            except (Missing, Damaged, OtherVersion):
                continue
            self._read[entry.key] = entry.etag, gpu_seconds(beat)
        return sum(seconds for _, seconds in self._read.values())
