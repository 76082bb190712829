"""Makes sure that no process of a run outlives it, were the run killed by SIGKILL.

A small process of its own session reads from a pipe which process groups live. When the pipe closes, because the run
ended, in whatever way, it kills those that still do.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Reaper:
    """Where the engine says which process groups live."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def watch(self, group: int) -> None:
        """A process group was started."""
        self._say(f"+{group}")

    def forget(self, group: int) -> None:
        """A process group has ended."""
        self._say(f"-{group}")

    def _say(self, text: str) -> None:
        assert self._process.stdin is not None
        print(text, file=self._process.stdin, flush=True)


@contextmanager
def reaper() -> Iterator[Reaper]:
    """A reaper for the length of a run."""
    with subprocess.Popen(
        [sys.executable, "-m", "workflows.local.reaper"], stdin=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        yield Reaper(process)


def main() -> None:
    """Read groups until the pipe closes, then kill those left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        change = groups.add if line[0] == "+" else groups.discard
        change(int(line[1:]))
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
