"""Films decoded once, on all cores, in bounded memory, in their order."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.contract.exits import BadInput
from jobs.films.dicom import Facts, read_film
from jobs.films.duplicates import thumbnail
from jobs.prepare.sources import FilmFile, Source

Item = TypeVar("Item")
Result = TypeVar("Result")

DOWNLOADS: Final = 16  # films fetched at once
AHEAD: Final = 48  # films fetched ahead of their decoding


@dataclass(frozen=True)
class Decoded:
    """What is kept of a film."""

    facts: Facts
    thumbnail: NDArray[np.uint8]
    squares: dict[int, NDArray[np.uint8]]  # size → (size, size)


@dataclass(frozen=True)
class Task:
    """A film to decode at some sizes."""

    film: FilmFile
    sizes: tuple[int, ...]


def decode(task: Task, path: Path, name: str) -> Decoded | str:
    """Read a film; where that fails, say why."""
    try:
        film = read_film(path, name)
    except BadInput as error:
        return str(error)
    return Decoded(film.facts, thumbnail(film.grey), {size: film.square(size) for size in task.sizes})


def decode_all(source: Source, tasks: Iterable[Task], processes: int) -> Generator[Decoded | str, None, None]:
    """Decode films in parallel; results come in the tasks' order.

    At most a few dozen films are on their way at any moment, however many there are.
    """

    def fetch(task: Task) -> tuple[Task, Path, str]:
        return task, source.fetch(task.film), f"{source.name}/{task.film.place}"

    with ThreadPoolExecutor(DOWNLOADS) as downloads, _pool(processes) as pool:
        fetched = windowed(downloads, fetch, tasks, AHEAD)
        for path, result in windowed(pool, _decode, fetched, 2 * processes + 2):
            source.release(path)
            yield result


def _decode(fetched: tuple[Task, Path, str]) -> tuple[Path, Decoded | str]:
    return fetched[1], decode(*fetched)


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
    method.set_forkserver_preload(["jobs.prepare.decoding"])
    pool = ProcessPoolExecutor(processes, mp_context=method, initializer=_begin)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """A worker leaves stopping to the stage, uses one core, and does not outlive the stage however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
