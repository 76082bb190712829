"""Films damaged, mislabelled and made up, in every codec: each is read right, or refused with a sentence, in bounds."""

import itertools
import json
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from jobs.contract import environment
from tests.soak.film_mutations import MUTATIONS, SAME, base_films, mutated
from tests.soak.processes import MARK, ROOT, Process, Warm, end_left_behind, ids_of_trial, patience
from tests.soak.table import Outcome
from tests.soak.trials import Trial, said_wrongly
from tests.soak.world import World

BATCH: Final = 3 * len(MUTATIONS)  # films that one process decodes
MEMORY: Final = 1 << 30  # bytes that decoding any film may take
PYTHON: Final = re.compile(
    r"NoneType|has no attribute|unsupported operand|not subscriptable|Traceback|index out of range|not iterable"
)


@contextmanager
def trials(world: World, folder: Path) -> Iterator[Trial]:
    """A batch of films a trial, as many of each mutation."""
    bases = base_films(folder / "bases")
    read = _decode(world.warm, folder / "bases")[0]
    truth = {film["film"]: film["facts"]["pixels_sha256"] for film in read}

    def trial(number: int, chance: random.Random) -> list[Outcome]:
        place = folder / f"batch-{number:05d}"
        place.mkdir()
        made = {}
        for count, name in zip(range(BATCH), itertools.cycle(MUTATIONS)):
            base = chance.choice(bases)
            film = f"{count:02d}-{base.stem}.dcm"
            mutated(name, base, place / film, chance)
            made[film] = name, truth[base.name]
        return _judge(place, world.warm, made)

    yield trial


def _judge(place: Path, warm: Warm, made: dict[str, tuple[str, str]]) -> list[Outcome]:
    """What came of the films, of which each was made by a mutation from a film with such pixels."""
    films, process, memory = _decode(warm, place)
    outcomes = []
    for film in films:
        name, pixels = made[film["film"]]
        other = name in SAME and film["facts"] and film["facts"]["pixels_sha256"] != pixels
        problem = f"{film['film']} is read as other pixels" if other else _badly_said(film["film"], film["problem"])
        outcomes.append(Outcome(name, 1, problem, not other, film["seconds"]))
    problems = said_wrongly(process)
    unread = sorted(set(made) - {film["film"] for film in films})
    if process.code != 0 or unread:
        problems.append(f"ended with {process.code} (None: stuck) at {unread[:1]}: {process.text()[-400:]}")
    if memory > MEMORY:
        problems.append(f"decoding took {memory >> 20} MiB")
    rest = len(unread) or bool(problems)
    return [*outcomes, Outcome("a process of many films", rest, "; ".join(problems), not problems, memory=memory)]


def _badly_said(film: str, problem: str) -> str:
    if PYTHON.search(problem):
        return f"{film}: Python's words: {problem[:300]}"
    return f"{film} is not named in: {problem[:300]}" if problem and film not in problem else ""


def _decode(warm: Warm, folder: Path) -> tuple[list[dict[str, Any]], Process, int]:
    """What was read of a folder's films, the process that did, and the most memory that a process of it took."""
    variables = {
        MARK: str(folder), environment.THREADS: "1", "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"],
        "HOME": str(folder), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    process = warm.start(["tests.soak.decode", str(folder)], variables, folder / "log", folder)
    deadline, memory = time.monotonic() + patience(), 0
    while process.poll() is None and time.monotonic() < deadline:
        memory = max([memory, *map(_peak, ids_of_trial(folder))])
        time.sleep(0.1)
    if process.code is None:
        process.send(signal.SIGKILL)
        process.wait(10)
        process.code = None
    end_left_behind(folder)
    lines = [line for line in process.text().splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines], process, memory


def _peak(pid: int) -> int:
    """Bytes of resident memory that a process took at its peak."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found.group(1)) * 1024 if found else 0
