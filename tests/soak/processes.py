"""Processes that start at once: forks of one that has imported everything, and a look at what they leave behind."""

import ctypes
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.contract.names import Stage

ROOT = Path(__file__).parents[2]
MARK = "CXRFOLD_SOAK"  # in the environment of a trial's processes: the trial's folder
STARTED: set[int] = set()  # processes whose return code somebody waits for
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
# What takes seconds to import. Not ultralytics, which reads its environment then.
WARM = (
    "workflows.cv", "workflows.manifest.dag", *(stage.module for stage in Stage),
    "torch._dynamo", "torchvision", "timm", "scipy.optimize", "sklearn.model_selection",
)  # fmt: skip
CV = str(ROOT / "workflows" / "cv.py")


@dataclass
class Process:
    """A forked process, the leader of its own session and process group.

    Attributes:
        pid: its process id.
        log: the file that takes what it prints.
        code: its return code, negative for a signal; None while it runs.
        memory: bytes of resident memory at its peak, known once it has ended.
    """

    pid: int
    log: Path
    code: int | None = None
    memory: int = 0

    def poll(self) -> int | None:
        if self.code is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                STARTED.discard(pid)
                self.code, self.memory = os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024
        return self.code

    def wait(self, seconds: float) -> int | None:
        """The return code; None where the process still runs after so many seconds."""
        deadline = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.code

    def send(self, how: signal.Signals, *, group: bool = False) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self.pid, how)

    def text(self) -> str:
        # A process that was killed at once may not have opened its log.
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Warm:
    """Starts ``python -m jobs …`` and ``python workflows/cv.py …`` without the seconds that their imports take."""

    def __init__(self, talk: socket.socket) -> None:
        self._talk, self._lock = talk, threading.Lock()

    def start(self, argv: Sequence[str], variables: Mapping[str, str], log: Path, folder: Path) -> Process:
        """Fork a process.

        Args:
            argv: a module or the path of ``cv.py``, and its arguments.
            variables: its whole environment.
            log: takes its standard output and error.
            folder: its working directory.
        """
        request = {"argv": list(argv), "variables": dict(variables), "log": str(log), "folder": str(folder)}
        with self._lock:
            self._talk.sendall(json.dumps(request).encode() + b"\n")
            pid = int(self._talk.recv(32))
            STARTED.add(pid)
        return Process(pid, log)


@contextmanager
def warm() -> Iterator[Warm]:
    """The process that forks; call before this process starts threads. Orphans become this process' children."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _serve(theirs)
    theirs.close()
    try:
        yield Warm(ours)
    finally:
        ours.close()
        os.waitpid(pid, 0)


def _serve(talk: socket.socket) -> None:
    """Import, then fork a process a line until the socket closes."""
    os.setsid()  # Ctrl-C is the campaign's to handle
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    for module in WARM:
        importlib.import_module(module)

    for line in talk.makefile("rb"):
        if os.fork():
            os.wait()
            continue
        between = os.getpid()
        if os.fork():
            os._exit(0)  # so that the campaign becomes the parent of the other
        while os.getppid() == between:
            time.sleep(0.001)
        talk.sendall(str(os.getpid()).encode())
        talk.close()
        _become(json.loads(line))
        return  # not reached
    os._exit(0)


def _become(request: dict[str, Any]) -> None:
    """Be what a fresh interpreter would be that was given this command."""
    os.setsid()
    target = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for number in (1, 2):
        os.dup2(target, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ |= request["variables"]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    sys.argv = request["argv"]
    if sys.argv[0].endswith(".py"):
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    sys.exit()


def patience(seconds: float = 120.0) -> float:
    """After how many seconds a process counts as stuck, longer where the machine has more to do than it has cores."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def left_behind(folder: Path, *, seconds: float = 10.0) -> list[str]:
    """Command lines of processes that a trial in a folder has left, zombies left out; they get some time to end."""
    deadline = time.monotonic() + patience(seconds)
    while (found := list(_of_trial(folder))) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [command for _, command in found]


def ids_of_trial(folder: Path) -> list[int]:
    """Ids of the trial's processes that were started as programs of their own, and their forks."""
    return [pid for pid, _ in _of_trial(folder)]


def end_left_behind(folder: Path) -> None:
    """Kill what a trial has left."""
    for pid, _ in _of_trial(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _of_trial(folder: Path) -> Iterator[tuple[int, str]]:
    """Id and command line of every process that works in the folder, or was started with its mark."""
    mark = f"{MARK}={folder}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        pid = int(process.name)
        try:
            if (process / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                if pid not in STARTED and _parent(process) == os.getpid():
                    os.waitpid(pid, os.WNOHANG)
                continue
            marked = mark in (process / "environ").read_bytes().split(b"\0")
            inside = (process / "cwd").readlink().is_relative_to(folder)
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended while we looked
        if marked or inside:
            yield pid, command.strip()


def _parent(process: Path) -> int:
    return int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
