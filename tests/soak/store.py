"""S3 that fails: every call of the store by itself, one kind of fault at a time; whole stages, all kinds mixed."""

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jobs.contract import environment
from jobs.contract.exits import TABLE, Exit, ServiceAway, StageError
from jobs.contract.stored.records import Output
from jobs.runtime.store import Missing, Store
from tests.soak.processes import patience
from tests.soak.proxy import FAULTS, Faults, proxy
from tests.soak.table import Outcome
from tests.soak.trials import Trial, said_wrongly
from tests.soak.world import STEPS, Step, World

# "deaf" costs a minute each time, so it is tried alone, and seldom; "stale" is of keys that only stages read.
NAMES: Final = tuple(name for name in FAULTS if name not in ("deaf", "stale"))
RATE_OF_CALLS, RATE_OF_STAGES = 0.3, 0.15
LARGE: Final = 40 << 20  # bytes: above the threshold of transfers in parts
ATTEMPTS: Final = 6  # of one call or one stage, as a scheduler would make them


@contextmanager
def trials(world: World, folder: Path) -> Iterator[Trial]:
    """Three trials of calls, then one of a stage."""

    def trial(number: int, chance: random.Random) -> list[Outcome]:
        turn, kind = divmod(number, 4)
        if kind == 3:
            return [_stage(world, STEPS[turn % len(STEPS)], chance)]
        if turn % 40 == 39 and kind == 0:
            return [_calls(world, "deaf", chance)]
        return [_calls(world, NAMES[(3 * turn + kind) % len(NAMES)], chance)]

    yield trial


def _stage(world: World, step: Step, chance: random.Random) -> Outcome:
    """A stage behind the proxy, tried again where its exit code says so."""
    problems, undisturbed = [], world.step(step)
    with (
        world.place(undisturbed.objects, undisturbed.cache) as place,
        proxy(world.server.endpoint) as between,
    ):
        began = time.monotonic()
        for _ in range(ATTEMPTS):
            between.faults = Faults((*NAMES, "stale"), RATE_OF_STAGES, chance, between.faults.counts)
            process = place.start(step, **{environment.ENDPOINT: between.endpoint})
            process.wait(patience(300))
            problems += said_wrongly(process)
            if process.code is None or not _worth_another(process.code):
                break
        if process.code != Exit.DONE:
            problems.append(f"ended with {process.code} (None: stuck):\n{process.text()[-1500:]}")
        seconds = time.monotonic() - began
        equal = process.code == Exit.DONE and place.result(step) == undisturbed.result
        return Outcome(f"all kinds, {step.task.stage}", between.faults.total, "; ".join(problems), equal, seconds)


def _worth_another(code: int) -> bool:
    return code in list(Exit) and TABLE[Exit(code)].retry


@dataclass(frozen=True)
class Call:
    """One call and what it must give."""

    name: str
    make: Callable[[], Any]
    right: Callable[[Any], bool]


def _calls(world: World, name: str, chance: random.Random) -> Outcome:
    """Every call of a store behind a proxy that puts one kind of fault into a third of all requests."""
    problems, longest = [], 0.0
    with world.place() as place, proxy(world.server.endpoint) as between:
        store = Store.open(place.store.url, endpoint=between.endpoint, addressing="path")
        rate = RATE_OF_CALLS if name != "deaf" else 0.05
        between.faults = Faults((name,), rate, chance)
        for call in _script(store, place.store, place.folder, chance):
            began = time.monotonic()
            problems += _made(call)
            longest = max(longest, time.monotonic() - began)
        return Outcome(f"{name}, a call", between.faults.total, "; ".join(problems), not problems, longest)


def _made(call: Call) -> list[str]:
    """What is wrong with a call, which may be made again where it says that the service is away."""
    for _ in range(ATTEMPTS):
        try:
            value = call.make()
        except Missing as error:
            value = error
        except ServiceAway:
            continue
        except StageError as error:
            return [f"{call.name} ended as {type(error).__name__}: {error}"]
        except BaseException as error:
            return [f"{call.name} ended as a bare {type(error).__name__}: {error}"]
        return [] if call.right(value) else [f"{call.name} gave {value!r:.200}"]
    return [f"{call.name} is still away after {ATTEMPTS} attempts"]


def _script(store: Store, straight: Store, folder: Path, chance: random.Random) -> Iterator[Call]:
    """Calls that write, read, list and remove, small and large; ``straight`` is the same store without the proxy."""
    small, other = chance.randbytes(2000), chance.randbytes(2000)
    yield Call("put", lambda: store.put("a/small", small), bool)
    yield Call("get", lambda: store.get("a/small"), small.__eq__)
    yield Call("put new", lambda: store.put("a/new", small, if_absent=True), lambda _: straight.get("a/new") == small)
    yield Call("put over", lambda: store.put("a/new", other, if_absent=True), lambda wrote: not wrote)
    yield Call("get new", lambda: store.get("a/new"), small.__eq__)
    yield Call("get missing", lambda: store.get("a/missing"), lambda value: isinstance(value, Missing))
    yield Call("size", lambda: store.size("a/small"), len(small).__eq__)
    yield Call("size missing", lambda: store.size("a/missing"), lambda value: value is None)
    size = LARGE if chance.random() < 0.15 else 300_000
    path = folder / "file"
    path.write_bytes(chance.randbytes(size))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    yield Call("upload", lambda: store.upload(path, "a/file").sha256, sha256.__eq__)
    output = Output(key="a/file", sha256=sha256, size=size)
    copy = folder / "copy"
    yield Call("download", lambda: store.download(output, copy).read_bytes() == path.read_bytes(), bool)
    yield Call("download key", lambda: store.download("a/file", copy).read_bytes() == path.read_bytes(), bool)
    keys = ["a/file", "a/new", "a/small"]
    yield Call("list", lambda: [entry.key for entry in store.list("a/")], keys.__eq__)
    yield Call("folders", lambda: list(store.folders("")), ["a"].__eq__)
    yield Call("delete", lambda: store.delete(["a/new", "a/gone"]), lambda _: True)
    yield Call("list again", lambda: [entry.key for entry in store.list("a/")], ["a/file", "a/small"].__eq__)
    yield Call("delete all", lambda: store.delete_prefix("a/"), lambda _: not list(straight.list()))
