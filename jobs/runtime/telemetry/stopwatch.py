"""What a stage's time goes into."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds by what they are spent on: ``waiting`` for films, ``training``, ``evaluating``, ``writing``."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, what: str) -> Iterator[None]:
        """Add the time that the block takes."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.monotonic() - begun

    def rounded(self) -> dict[str, float]:
        """The seconds, to a tenth."""
        return {what: round(seconds, 1) for what, seconds in self.seconds.items()}

    def share(self, what: str) -> float:
        """The part of all seconds that one thing took; 0 where none is measured yet."""
        whole = sum(self.seconds.values())
        return self.seconds.get(what, 0.0) / whole if whole else 0.0
