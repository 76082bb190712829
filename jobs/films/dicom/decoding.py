"""Decodes films in parallel processes, in order, in bounded memory."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.contract.exits import BadInput
from jobs.films.dicom.film import Facts, read_film
from jobs.films.splitting.duplicates import thumbnail

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class DecodeRequest:
    """A film to decode, and the sizes to letterbox it to."""

    path: Path
    name: str  # name of the film in error messages
    sizes: tuple[int, ...]


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
        film = read_film(request.path, request.name)
    except BadInput as error:
        return Decoded(request.path, problem=str(error))
    squares = {size: film.square(size) for size in request.sizes}
    return Decoded(request.path, "", film.facts, thumbnail(film.grey), squares)


def decode_all(requests: Iterable[DecodeRequest], processes: int) -> Generator[Decoded, None, None]:
    """Decode films in parallel. Results come in the order of the requests, of which few are taken ahead.

    Raises:
        BadInput: a process was killed, most likely by the kernel for lack of memory.
    """
    try:
        with _pool(processes) as pool:
            yield from windowed(pool, decode, requests, 2 * processes + 2)
    except BrokenProcessPool as error:
        raise BadInput(
            f"One of {processes} decoding processes was killed, most likely for lack of memory: "
            "give the stage prepare more memory or fewer CPUs."
        ) from error


def windowed(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], window: int
) -> Iterator[Result]:
    """Like ``pool.map``, but submit at most ``window`` items ahead of the result that is consumed."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes forked from a clean server process: the stage itself has threads, so forking it is unsafe."""
    method = multiprocessing.get_context("forkserver")
    method.set_forkserver_preload(["jobs.films.dicom.decoding"])
    # The stage alone handles these signals. The server process and its forks inherit the blocked mask. The resource
    # tracker must run before, because starting it unblocks both signals.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    pool = ProcessPoolExecutor(processes, mp_context=method, initializer=_initialise)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _initialise() -> None:
    """Initialise a worker process: one thread, and exit when the stage does, however it ends."""
    cv2.setNumThreads(1)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
