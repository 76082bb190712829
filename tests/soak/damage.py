"""Damage every kind of stored object and cached file, then repeat the step that reads it.

The step is tried again where its exit code says so. Where that does not help, what follows is what ``resume`` does: the
run's steps up to this one, in their order. In the end all must be what it was.
"""

import random
import re
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from jobs.contract.exits import TABLE, Exit
from jobs.contract.stored import layout
from tests.soak.processes import CV, patience
from tests.soak.table import Outcome
from tests.soak.trials import Trial, said_wrongly
from tests.soak.world import CLASSIFIER, DETECTOR, RUN, STEPS, TEST_RUN, Place, Step, World

Damage = Callable[[bytes, random.Random], bytes | None]  # None: the object is gone


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    if changed:
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


DAMAGES: Final[dict[str, Damage]] = {
    "flip": _flip,
    "cut": lambda data, chance: data[: chance.randrange(len(data) or 1)],
    "empty": lambda data, chance: b"",
    "noise": lambda data, chance: chance.randbytes(len(data)),
    "zeros": lambda data, chance: bytes(len(data)),
    "longer": lambda data, chance: data + chance.randbytes(16),
    "other JSON": lambda data, chance: chance.choice((b"[]", b"null", b"{}", b'"text"', b"[" * 100_000)),
    "gone": lambda data, chance: None,
}
PASSES: Final = 3  # times that all tasks are gone through
ATTEMPTS: Final = 4
COMMANDS: Final = (["runs", "--json"], ["status", RUN, "--json"], ["logs", RUN], ["status", TEST_RUN, "--json"])


@contextmanager
def trials(world: World, folder: Path) -> Iterator[Trial]:
    """Objects of a finished run, checkpoints of an unfinished one, and files of a node's cache, in turn."""
    half: dict[Step, dict[str, bytes]] = {}

    def trial(number: int, chance: random.Random) -> list[Outcome]:
        name = list(DAMAGES)[number % len(DAMAGES)]
        match number // len(DAMAGES) % 4:
            case 0 | 1:
                return [_object(world, name, chance)]
            case 2:
                return [_cached(world, name, chance)]
        step = chance.choice((CLASSIFIER, DETECTOR))
        if step not in half:
            half[step] = _half_trained(world, step)
        return [_checkpoint(world, step, half[step], name, chance)]

    yield trial


def _object(world: World, name: str, chance: random.Random) -> Outcome:
    """Damage one object; the work of one step is gone, so that this object is read."""
    objects = world.finished()
    kinds: dict[str, list[str]] = defaultdict(list)
    for key in objects:
        kinds[kind_of(key)].append(key)
    kind = chance.choice(sorted(kinds))
    key = chance.choice(kinds[kind])
    anew = chance.choice(_readers(key))
    kept: dict[str, bytes | None] = {k: v for k, v in objects.items() if not _is_of(k, anew)}
    kept[key] = DAMAGES[name](objects[key], chance)
    problems: list[str] = []
    # The cache holds the films and no more, which would hide the damage.
    with world.place({k: v for k, v in kept.items() if v is not None}, world.step(STEPS[1]).cache) as place:
        if key.startswith(layout.RUNS):
            problems += _commands(world, place)
        began = time.monotonic()
        problems += _resume(place, anew)
        equal = _equal(world, place, anew, problems)
    return _outcome(f"{name}: {kind}", f"{anew} done anew, {key}", problems, equal, time.monotonic() - began)


def _readers(key: str) -> list[Step]:
    """The steps that may read an object: of its run, those from the one that left it on."""
    if key.startswith(layout.WORK):
        first = next(number for number, step in enumerate(STEPS) if key.split("/")[1] == step.task.stage)
        return list(STEPS[first:])
    return [step for step in STEPS if key.split("/")[1] == step.run]


def _outcome(row: str, place: str, problems: list[str], equal: bool, seconds: float) -> Outcome:
    if not problems and not equal:
        problems = ["it ended well with another result"]
    return Outcome(row, 1, "; ".join(f"[{place}] {problem}" for problem in problems), equal, seconds)


def _equal(world: World, place: Place, step: Step, problems: list[str]) -> bool:
    try:
        return place.result(step) == world.step(step).result
    except Exception as error:
        problems.append(f"the result cannot be read: {error!r}")
        return False


def _resume(place: Place, step: Step) -> list[str]:
    """Repeat a step and, if it fails, the whole run up to it; return the problems."""
    code, problems = _attempts(place, step)
    before = [each for each in STEPS[: STEPS.index(step) + 1] if each.test <= step.test]
    for _ in range(PASSES):
        if code == Exit.DONE:
            return problems
        for each in before:
            code, more = _attempts(place, each)
            problems += [problem for problem in more if problem not in problems]
            if code != Exit.DONE:
                break
    return problems if code == Exit.DONE else [*problems, f"in the end {each} ends with {code}"]


def _attempts(place: Place, step: Step) -> tuple[int, list[str]]:
    """Run a step with retries as its exit code demands; return the last code and problems of its messages."""
    problems: list[str] = []
    for _ in range(ATTEMPTS):
        process = place.start(step)
        if process.wait(patience()) is None:
            process.send(signal.SIGKILL)
            process.wait(10)
            return Exit.KILLED, [f"{step} is stuck:\n{process.text()[-500:]}"]
        if wrong := said_wrongly(process):
            problems = [f"{step} ends with {process.code} and {wrong[0]}"]
        code = process.code if process.code is not None else Exit.KILLED
        if code not in list(Exit) or not TABLE[Exit(code)].retry:
            break
    if code not in (Exit.DONE, Exit.BAD_INPUT) and not problems:
        problems = [f"{step} ends with {code} after {ATTEMPTS} attempts:\n{process.text()[-600:]}"]
    return code, problems


def _commands(world: World, place: Place) -> list[str]:
    """What the commands that only read say of it; they must end, and not as a bug."""
    problems = []
    for number, arguments in enumerate(COMMANDS):
        log = place.folder / f"command-{number}.log"
        process = world.warm.start([CV, *arguments], place.variables, log, place.folder)
        if process.wait(patience()) not in set(Exit) - {Exit.BUG}:
            problems.append(f"cv.py {' '.join(arguments)} ended with {process.code}:\n{process.text()[-500:]}")
        elif wrong := said_wrongly(process):
            problems.append(f"cv.py {' '.join(arguments)}: {wrong[0]}")
    return problems


def _cached(world: World, name: str, chance: random.Random) -> Outcome:
    """Damage a file of the node's cache, then repeat a step that reads it."""
    anew = chance.choice(STEPS)
    reference = world.step(anew)
    if reference.cache is None:
        anew = STEPS[1]
        reference = world.step(anew)
    kinds: dict[str, list[Path]] = defaultdict(list)
    for path in reference.cache.rglob("*"):
        if path.is_file() and not path.is_symlink():
            kinds[re.sub(r"[0-9a-f]{8,}", "*", path.relative_to(reference.cache).parts[-1])].append(path)
    kind = chance.choice(sorted(kinds))
    victim = chance.choice(kinds[kind]).relative_to(reference.cache)
    problems: list[str] = []
    with world.place(reference.objects, reference.cache) as place:
        path = place.cache / victim
        if (data := DAMAGES[name](path.read_bytes(), chance)) is None:
            path.unlink()
        else:
            path.chmod(0o644)
            path.write_bytes(data)
        began = time.monotonic()
        problems += _resume(place, anew)
        equal = _equal(world, place, anew, problems)
    return _outcome(f"{name}: cached {kind}", f"{anew}, {victim}", problems, equal, time.monotonic() - began)


def _half_trained(world: World, step: Step) -> dict[str, bytes]:
    """What the store holds of a training that was killed when it had two checkpoints or more."""
    reference = world.step(step)
    with world.place(reference.objects, reference.cache) as place:
        process = place.start(step)
        while process.poll() is None:
            checkpoints = [entry for entry in place.store.list() if re.search(r"checkpoints/.*safetensors", entry.key)]
            if len(checkpoints) >= 2:
                break
            time.sleep(0.02)
        process.send(signal.SIGKILL)
        process.wait(10)
        return place.objects()


def _checkpoint(world: World, step: Step, objects: dict[str, bytes], name: str, chance: random.Random) -> Outcome:
    """Damage a checkpoint or its pointer; training resumes from what remains."""
    reference = world.step(step)
    keys = [key for key in objects if "/checkpoints/" in key] or [layout.heartbeat(RUN, step.task)]
    key = chance.choice(keys)
    changed = {**objects, key: DAMAGES[name](objects[key], chance)}
    with world.place({k: v for k, v in changed.items() if v is not None}, reference.cache) as place:
        began = time.monotonic()
        problems = _resume(place, step)
        equal = _equal(world, place, step, problems)
    row = f"{name}: checkpoint of {step}, {kind_of(key)}"
    return _outcome(row, f"{step}, {key}", problems, equal, time.monotonic() - began)


def kind_of(key: str) -> str:
    """What sort of object a key is, e.g. ``prepare DONE.json`` or ``heartbeat.json``."""
    name = re.sub(r"^[0-9a-f]{12}-", "", key.rsplit("/", 1)[-1])
    name = re.sub(r"\d{8}T\d{6}Z", "*", re.sub(r"(\w+-)?fold-\d+", "fold", re.sub(r"\d{6}", "n", name)))
    if key.startswith(layout.WORK):
        return f"{key.split('/')[1]} {name}"
    return f"run's {name}"


def _is_of(key: str, step: Step) -> bool:
    """Whether a key is of a step's work. Both runs' prepare and ensemble share a prefix; that does no harm."""
    return key.startswith((f"{layout.WORK}{step.task.stage}/", layout.task(step.run, step.task)))
