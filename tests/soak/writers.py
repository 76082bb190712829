"""Three and two writers of the same work at once: all must end well, with one result."""

import json
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from jobs.contract import environment
from jobs.contract.exits import TABLE, Exit
from tests.soak.processes import Process, left_behind, patience
from tests.soak.table import Outcome
from tests.soak.trials import Trial, said_wrongly
from tests.soak.world import STEPS, Place, Step, World

ATTEMPTS: Final = 4


@contextmanager
def trials(world: World, folder: Path) -> Iterator[Trial]:
    """Every stage in turn, by three and by two."""
    yield lambda number, chance: [_trial(world, STEPS[number % len(STEPS)], 3 - number // len(STEPS) % 2, chance)]


def _trial(world: World, step: Step, count: int, chance: random.Random) -> Outcome:
    """Start the writers a moment apart; some are frozen for a while, so that the others overtake them."""
    reference, problems = world.step(step), []
    with world.place(reference.objects, reference.cache) as place:
        one_cache = chance.random() < 0.5
        began = time.monotonic()
        writers = []
        for number in range(count):
            time.sleep(chance.uniform(0, 0.4) * reference.seconds)
            writers.append(_start(place, step, number, one_cache))
        for writer in writers[: chance.randint(0, count - 1)]:
            time.sleep(chance.uniform(0, 0.3) * reference.seconds)
            writer.send(signal.SIGSTOP, group=True)
        time.sleep(chance.uniform(0.5, 1.5) * reference.seconds)
        for writer in writers:
            writer.send(signal.SIGCONT, group=True)
        for number, writer in enumerate(writers):
            problems += _ended(place, step, number, one_cache, writer)
        seconds = time.monotonic() - began
        if left := left_behind(place.folder):
            problems.append(f"left processes behind: {left}")
        equal = _equal(place, step, reference.result, problems)
    return Outcome(f"{count} writers of {step}", count, "; ".join(problems), equal, seconds)


def _start(place: Place, step: Step, number: int, one_cache: bool) -> Process:
    own = {} if one_cache else {environment.CACHE: str(place.folder / f"cache-{number}")}
    return place.start(step, **own)


def _ended(place: Place, step: Step, number: int, one_cache: bool, writer: Process) -> list[str]:
    """What is wrong with a writer's end; one that may be tried again is."""
    problems = []
    for _ in range(ATTEMPTS):
        if writer.wait(patience()) is None:
            writer.send(signal.SIGKILL, group=True)
            writer.wait(10)
            return [*problems, f"writer {number} is stuck:\n{writer.text()[-1000:]}"]
        problems += said_wrongly(writer)
        if writer.code == Exit.DONE:
            return problems
        if writer.code not in list(Exit) or not TABLE[Exit(writer.code)].retry:
            break
        writer = _start(place, step, number, one_cache)
    return [*problems, f"writer {number} ended with {writer.code}:\n{writer.text()[-1500:]}"]


def _equal(place: Place, step: Step, result: dict[str, str], problems: list[str]) -> bool:
    """Whether the one result is right, and every object of it is there."""
    try:
        equal = place.result(step) == result
    except Exception as error:
        problems.append(f"the result cannot be read: {error!r}")
        return False
    for key, data in place.objects().items():
        if key.endswith("/DONE.json"):
            gone = [o["key"] for o in json.loads(data)["outputs"].values() if place.store.size(o["key"]) != o["size"]]
            problems += [f"{key} names objects that are not there: {gone}"] if gone else []
    return equal
