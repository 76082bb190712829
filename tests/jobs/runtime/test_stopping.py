import subprocess
import sys

# A SIGTERM that comes while the interpreter takes itself apart, as a pod's second one does.
LATE = """
import os, signal, sys
from jobs.runtime.preemption import Stop, ignore_signals

class Late:
    def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.SIGTERM):
        kill(pid, number)

late = Late()
Stop().listen()
{last}
sys.exit(75)
"""


def end(last: str) -> int:
    return subprocess.run([sys.executable, "-c", LATE.format(last=last)], check=False).returncode


def test_a_second_sigterm_does_not_change_how_a_process_ends() -> None:
    assert end("") == -15, "the interpreter dies by it"
    assert end("ignore_signals()") == 75
