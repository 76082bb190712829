"""Every stage killed, stopped, frozen and interrupted at random moments, and whole runs with their server and guard.

A stage is disturbed up to three times and then left alone; it must end with what an undisturbed one leaves.
"""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.contract.exits import Exit
from tests.soak.processes import Process, left_behind, patience
from tests.soak.table import Outcome
from tests.soak.trials import Trial, said_wrongly
from tests.soak.whole_runs import WAYS as WAYS_OF_RUNS
from tests.soak.whole_runs import WholeRuns
from tests.soak.world import STEPS, Place, Step, World

KILL, TERM, STOP, INT_TWICE, GROUP = "KILL", "TERM", "STOP", "INT twice", "KILL group"
WAYS = (KILL, TERM, STOP, INT_TWICE, GROUP)
WHOLE_EVERY = 12  # of so many trials one is a whole run
# How an end of each kind may be told; an end before the process listens is told by the signal itself.
ENDS = {
    KILL: {-signal.SIGKILL},
    GROUP: {-signal.SIGKILL},
    STOP: {-signal.SIGKILL},
    TERM: {Exit.DONE, Exit.CHECKPOINTED, -signal.SIGTERM},
    INT_TWICE: {Exit.DONE, Exit.CHECKPOINTED, -signal.SIGINT, 130},
}


@contextmanager
def trials(world: World, folder: Path) -> Iterator[Trial]:
    """Whole runs in turn with single stages."""
    whole = WholeRuns(folder, world.warm)

    def trial(number: int, chance: random.Random) -> list[Outcome]:
        turn, whole_turn = divmod(number, WHOLE_EVERY)
        if whole_turn == WHOLE_EVERY - 1:
            return [whole.trial(WAYS_OF_RUNS[turn % len(WAYS_OF_RUNS)], chance)]
        stage_number = number - turn
        return [_stage(world, STEPS[stage_number % len(STEPS)], WAYS[stage_number % len(WAYS)], chance)]

    yield trial


def _stage(world: World, step: Step, way: str, chance: random.Random) -> Outcome:
    undisturbed = world.step(step)
    cache = undisturbed.cache if chance.random() < 0.7 else None
    tried, problems = 0, []
    with world.place(undisturbed.objects, cache) as place:
        for _ in range(chance.choice((1, 2, 3))):
            process = place.start(step)
            hit = _disturb(process, way, chance, undisturbed.seconds)
            tried += hit
            problems += _after(process, way, place)
            if not hit:
                break
        began = time.monotonic()
        last = place.start(step)
        if last.wait(patience()) != Exit.DONE:
            problems.append(f"the next attempt ended with {last.code} (None: stuck):\n{last.text()[-2000:]}")
        seconds = time.monotonic() - began
        problems += said_wrongly(last) + _rests(place)
        equal = last.code == Exit.DONE and place.result(step) == undisturbed.result
    return Outcome(f"{way} {step.task.stage}", tried, "; ".join(problems), equal, seconds)


def _disturb(process: Process, way: str, chance: random.Random, usual: float) -> bool:
    """End a process at a random moment of its life. Whether there was anything to end."""
    if process.wait(chance.uniform(0, 1.1 * usual)) is not None:
        return False
    if way == STOP:
        process.send(signal.SIGSTOP)
        time.sleep(chance.uniform(0.2, 2))
        if chance.random() < 0.5:  # half of them go on
            process.send(signal.SIGCONT)
            process.wait(patience())
            return True
    how = {TERM: signal.SIGTERM, INT_TWICE: signal.SIGINT}.get(way, signal.SIGKILL)
    process.send(how, group=way in (GROUP, INT_TWICE))
    if way == INT_TWICE:
        time.sleep(chance.uniform(0, 0.5))
        process.send(how, group=True)
    process.wait(patience())
    return True


def _after(process: Process, way: str, place: Place) -> list[str]:
    """What is wrong with the end of a disturbed process."""
    allowed = ENDS[way] | {Exit.DONE}
    problems = said_wrongly(process)
    if process.code is None:
        problems.append(f"still there long after {way}")
        process.send(signal.SIGKILL, group=True)
        process.wait(10)
    elif process.code not in allowed:
        problems.append(f"ended with {process.code} after {way}: {process.text()[-500:]}")
    if left := left_behind(place.folder):
        problems.append(f"left processes behind: {left}")
    return problems


def _rests(place: Place) -> list[str]:
    """Half files that a cache was left with; scratch folders of a killed attempt go with its pod."""
    hidden = (path for path in place.cache.rglob(".*.??????*") if not path.is_symlink())
    halves = [str(path.relative_to(place.folder)) for path in hidden if path.suffix != ".verified"]
    return [f"half files in the cache: {halves[:3]}"] if len(halves) > 3 else []
