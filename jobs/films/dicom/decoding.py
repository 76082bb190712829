"""Films decoded in parallel, on all cores, in bounded memory, in their order."""

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
from jobs.films.duplicates import thumbnail

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Task:
    """A film's file to decode."""

    path: Path
    name: str  # what messages call it
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Decoded:
    """What is kept of a film; where it cannot be read, ``problem`` says why and the rest is empty."""

    path: Path
    problem: str = ""
    facts: Facts | None = None
    thumbnail: NDArray[np.uint8] | None = None
    squares: dict[int, NDArray[np.uint8]] | None = None  # size → (size, size)


def decode(task: Task) -> Decoded:
    """Read a film and letterbox it."""
    try:
        film = read_film(task.path, task.name)
    except BadInput as error:
        return Decoded(task.path, problem=str(error))
    squares = {size: film.square(size) for size in task.sizes}
    return Decoded(task.path, "", film.facts, thumbnail(film.grey), squares)


def decode_all(tasks: Iterable[Task], processes: int) -> Generator[Decoded, None, None]:
    """Decode films in parallel; results come in the tasks' order, and few tasks are taken ahead of them.

    Raises:
        BadInput: a process was killed, as the kernel does where memory runs out.
    """
    try:
        with _pool(processes) as pool:
            yield from windowed(pool, decode, tasks, 2 * processes + 2)
    except BrokenProcessPool as error:
        raise BadInput(
            f"One of {processes} processes that decode films was killed, most likely for want of memory: "
            "give the stage prepare more memory, or fewer CPUs."
        ) from error


def windowed(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], window: int
) -> Iterator[Result]:
    """``pool.map`` that takes no more than ``window`` items ahead of what was asked for."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes forked from a clean one that has imported what they need: the stage itself has threads."""
    method = multiprocessing.get_context("forkserver")
    method.set_forkserver_preload(["jobs.films.dicom.decoding"])
    # Stopping is up to the stage. What is blocked here stays blocked in the clean process and all that it forks; the
    # resource tracker comes first because starting it unblocks both.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    pool = ProcessPoolExecutor(processes, mp_context=method, initializer=_begin)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """A worker uses one core, and does not outlive the stage however that ends."""
    cv2.setNumThreads(1)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
