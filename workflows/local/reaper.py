"""Kills the processes of a run that are left when it ends, even by SIGKILL.

A small process in its own session reads from a pipe which process groups start and end. When the pipe closes, because
the run has ended, it kills the groups that are left.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Reaper:
    """The engine's end of the pipe."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def watch(self, group: int) -> None:
        """Report that a process group has started."""
        self._send(f"+{group}")

    def forget(self, group: int) -> None:
        """Report that a process group has ended."""
        self._send(f"-{group}")

    def _send(self, text: str) -> None:
        assert self._process.stdin is not None
        print(text, file=self._process.stdin, flush=True)


@contextmanager
def reaper() -> Iterator[Reaper]:
    """Run a reaper inside the context."""
    with subprocess.Popen(
        [sys.executable, "-m", "workflows.local.reaper"], stdin=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        yield Reaper(process)


def main() -> None:
    """Read groups until the pipe closes, then kill those that are left."""
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
