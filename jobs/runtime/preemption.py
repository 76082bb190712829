"""Stopping on SIGTERM and SIGINT: the signal sets a flag, which a stage checks where it can stop without loss."""

import signal
import time
from types import FrameType
from typing import Final

from jobs.contract.exits import Stopped

POLL_SECONDS: Final = 0.2


def ignore_signals() -> None:
    """Ignore SIGTERM and SIGINT, so that neither changes the exit code of a process that is about to end.

    A pod usually gets SIGTERM twice, from the kubelet and from Argo. A Python interpreter that shuts down removes its
    handlers, so the second signal would end it with 143 although a checkpoint was written.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


class Stop:
    """A flag that asks a stage to stop."""

    def __init__(self) -> None:
        self.spent = ""  # a sentence where the run's GPU hours are the reason
        self._requested = False  # no threading.Event: a signal within its wait() would deadlock in its set()

    def listen(self) -> None:
        """Set the flag on SIGTERM and SIGINT; a second signal changes nothing."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._requested = True

    def request(self) -> None:
        """Set the flag, as a signal would."""
        self._requested = True

    def end_budget(self, sentence: str) -> None:
        """Set the flag because the run's GPU hours are spent: the stage then ends with an exit code of its own."""
        self.spent = sentence
        self._requested = True

    @property
    def requested(self) -> bool:
        """Whether the stage should stop."""
        return self._requested

    def wait(self, seconds: float) -> None:
        """Wait, but no longer than until the flag is set."""
        end = time.monotonic() + seconds
        while not self.requested and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, POLL_SECONDS))

    def check(self) -> None:
        """Raise if the stage should stop. Call where no work would be lost.

        Raises:
            Stopped: the flag is set.
        """
        if self.requested:
            raise Stopped("Stopped on request; everything needed to continue is stored.")
