"""SIGTERM and SIGINT become a wish to stop, which the work looks at where it can stop without loss."""

import signal
import threading
from types import FrameType

from jobs.contract.exits import Stopped


def deafen() -> None:
    """Let no signal change how the process ends.

    A pod that is ended gets SIGTERM twice as a rule, from the kubelet and from Argo. On its way out the interpreter
    takes its handlers away, and would die by the second one: a checkpoint would be written, and 143 the exit code.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


class Stop:
    """The wish to stop."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def listen(self) -> None:
        """Take SIGTERM and SIGINT. A second one changes nothing: SIGKILL is there for the impatient."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._heard)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self._event.set()

    def request(self) -> None:
        """Ask to stop, as a signal would."""
        self._event.set()

    @property
    def requested(self) -> bool:
        """Whether somebody asked."""
        return self._event.is_set()

    def check(self) -> None:
        """Call where nothing would be lost.

        Raises:
            Stopped: where somebody asked to stop.
        """
        if self.requested:
            raise Stopped("Asked to stop; everything needed to go on is stored.")
