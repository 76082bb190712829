"""Decodes films in parallel processes, in order, each film within limits of time and memory."""

import math
import multiprocessing
import resource
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from queue import SimpleQueue
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.contract.exits import BadInput, DeviceFailed
from jobs.films.dicom.film import Facts, read_film
from jobs.films.splitting.duplicates import thumbnail

Item = TypeVar("Item")
Result = TypeVar("Result")

SECONDS: Final = 30  # of CPU time a film; a film of the largest supported size takes a few
MEMORY: Final = 768 * 2**20  # bytes a film, on top of what an idle process has
POLL_SECONDS: Final = 0.5


@dataclass(frozen=True)
class DecodeRequest:
    """A film to decode, the sizes to letterbox it to, and from which size on to decode at half the resolution."""

    path: Path
    name: str  # name of the film in error messages
    sizes: tuple[int, ...]
    halve_from: int | None = None  # see read_film


@dataclass(frozen=True)
class Decoded:
    """The result of decoding a film. If it cannot be read, ``problem`` says why and the other fields are None."""

    path: Path
    problem: str = ""
    facts: Facts | None = None
    thumbnail: NDArray[np.uint8] | None = None
    squares: dict[int, NDArray[np.uint8]] | None = None  # size → (size, size)


def decode(request: DecodeRequest) -> Decoded:
    """Read a film and letterbox it."""
    try:
        film = read_film(request.path, request.name, request.halve_from)
        squares = {size: film.square(size) for size in request.sizes}
        return Decoded(request.path, "", film.facts, thumbnail(film.grey), squares)
    except BadInput as error:
        return Decoded(request.path, problem=str(error))


def no_check() -> None:
    """Check nothing."""


def decode_all(
    requests: Iterable[DecodeRequest], processes: int, check: Callable[[], None] = no_check
) -> Generator[Decoded, None, None]:
    """Decode films in parallel. Results come in the order of the requests, of which few are taken ahead.

    A film that takes too much time or memory, or crashes its decoder, is a film with a problem.

    Args:
        requests: films to decode.
        processes: number of decoding processes.
        check: called while waiting for a film; it raises to stop.

    Raises:
        DeviceFailed: a process was killed, most likely by the kernel for lack of memory.
    """
    workers, threads = _Workers(processes), ThreadPoolExecutor(processes)
    try:
        yield from windowed(threads, workers.decode, requests, 2 * processes + 2, check)
    finally:
        workers.kill()
        threads.shutdown(cancel_futures=True)
        workers.join()


def windowed(
    pool: Executor,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    window: int,
    check: Callable[[], None] = no_check,
) -> Iterator[Result]:
    """Like ``pool.map``, but submit at most ``window`` items ahead of the result that is consumed.

    Call ``check`` while waiting for a result.
    """
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= window:
            yield _result(waiting.popleft(), check)
    while waiting:
        yield _result(waiting.popleft(), check)


def _result(future: Future[Result], check: Callable[[], None]) -> Result:
    while not wait([future], POLL_SECONDS).done:
        check()
    return future.result()


class _Worker:
    """A process that decodes one film at a time."""

    def __init__(self, context: ForkServerContext) -> None:
        self._connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, decode, SECONDS), daemon=True)
        self.process.start()
        theirs.close()

    def decode(self, request: DecodeRequest) -> Decoded:
        """Decode a film.

        Raises:
            EOFError: the process has died.
        """
        try:
            self._connection.send(request)
            result: Decoded | Exception = self._connection.recv()
        except ConnectionError as error:
            raise EOFError from error
        if isinstance(result, Exception):
            raise result
        return result


class _Workers:
    """Processes that decode films; one that dies is replaced."""

    def __init__(self, count: int) -> None:
        self._context, self._ended = _clean_context(), False
        self._all: list[_Worker] = []
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for _ in range(count):
            self._idle.put(self._start())

    def decode(self, request: DecodeRequest) -> Decoded:
        """Decode a film in an idle process. Called by as many threads as there are processes.

        Raises:
            DeviceFailed: the process was killed.
        """
        worker = self._idle.get()
        try:
            return worker.decode(request)
        except EOFError:
            worker.process.join()
            code = worker.process.exitcode or 0
            if not self._ended:
                worker = self._start()
            return Decoded(request.path, problem=f"{request.name} {_cause(code, request.name)}")
        finally:
            self._idle.put(worker)

    def kill(self) -> None:
        """Kill all processes, so that no thread waits for a film any longer."""
        self._ended = True
        for worker in self._all:
            worker.process.kill()

    def join(self) -> None:
        """Wait for the end of all processes."""
        for worker in self._all:
            worker.process.join()

    def _start(self) -> _Worker:
        self._all.append(worker := _Worker(self._context))
        return worker


def _cause(code: int, name: str) -> str:
    """Explain the exit code of a process that died while it decoded a film."""
    if code == -signal.SIGKILL:
        raise DeviceFailed(
            f"The process that decoded {name} was killed, most likely for lack of memory: "
            "give the stage prepare more memory or fewer CPUs."
        )
    if code == -signal.SIGXCPU:
        return f"takes more than {SECONDS} seconds of CPU time to decode"
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"crashes its decoder ({how})"


def _clean_context() -> ForkServerContext:
    """Return a context that forks from a clean server process: forking the stage, which has threads, is unsafe."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["jobs.films.dicom.decoding", "jobs.films.dicom.shrinking"])
    # The stage alone handles these signals. The server process and its forks inherit the blocked mask. The resource
    # tracker must run before, because starting it unblocks both signals.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def _serve(connection: Connection, function: Callable[[DecodeRequest], Decoded], seconds: int) -> None:
    """Decode films until the stage closes the connection, which it also does when it dies."""
    cv2.setNumThreads(1)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_DATA, _private_memory() + MEMORY)
    while True:
        try:
            request = connection.recv()
            _limit(resource.RLIMIT_CPU, math.ceil(time.process_time()) + seconds)
            try:
                result: Decoded | Exception = function(request)
            except MemoryError:
                problem = f"{request.name} needs more than {MEMORY >> 20} MiB of memory to decode"
                result = Decoded(request.path, problem=problem)
            except Exception as error:
                result = error
            connection.send(result)
        except (EOFError, ConnectionError):
            return


def _limit(which: int, value: int) -> None:
    """Set the soft limit of a resource, which cannot exceed the hard one."""
    hard = resource.getrlimit(which)[1]
    resource.setrlimit(which, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _private_memory() -> int:
    """Return the bytes that count against RLIMIT_DATA: the field ``data`` of ``/proc/self/statm`` (proc(5))."""
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
