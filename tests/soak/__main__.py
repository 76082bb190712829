"""``python -m tests.soak KIND…``: injects faults and reports the outcomes; see README.md."""

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from tests.soak.processes import warm
from tests.soak.table import Outcome, table
from tests.soak.trials import Trial
from tests.soak.world import tiny_world

# How many faults of each kind make a campaign.
KINDS = {"kills": 200, "store": 2000, "damage": 200, "writers": 60, "films": 1000, "texts": 200}


def main() -> int:
    """Run the requested campaigns; return 1 if one found lost data, a changed result, a hang or an unclear message."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)}; all where none is given")
    parser.add_argument("--count", type=int, help="faults of each kind; the kind's own number where not given")
    parser.add_argument("--scale", type=float, default=1.0, help="of the kinds' own numbers")
    parser.add_argument("--seed", type=int, default=1, help="of what is tried and when")
    parser.add_argument("--only", type=int, help="repeat the trial of this number alone")
    parser.add_argument("--jobs", type=int, default=2, help="trials at once")
    parser.add_argument("--minutes", type=float, default=60, help="of each kind, after which no trial starts")
    given = parser.parse_args()
    if unknown := set(given.kinds) - set(KINDS):
        parser.error(f"unknown kind {unknown.pop()}; there are {', '.join(KINDS)}")
    outcomes: list[Outcome] = []
    with (
        warm() as forks,
        tempfile.TemporaryDirectory(prefix="cxrfold-soak-") as folder,
        tiny_world(Path(folder), forks) as world,
        suppress(KeyboardInterrupt),  # the table tells what there is
    ):
        for kind in given.kinds or KINDS:
            place = Path(folder) / kind
            place.mkdir()
            with import_module(f"tests.soak.{kind}").trials(world, place) as trial:
                outcomes += _campaign(kind, trial, given)
    print(table(outcomes), flush=True)
    return 0 if all(outcome.survived and outcome.equal for outcome in outcomes) else 1


def _campaign(kind: str, trial: Trial, given: argparse.Namespace) -> Iterator[Outcome]:
    """Trials until enough faults were tried, some at once; what went wrong is told with the command to repeat it."""
    deadline, count = time.monotonic() + 60 * given.minutes, given.count or round(given.scale * KINDS[kind])
    numbers = iter([given.only] if given.only is not None else range(10**9))
    tried, running = 0, {}
    with ThreadPoolExecutor(given.jobs) as pool:
        while True:
            while len(running) < given.jobs and tried < count and time.monotonic() < deadline:
                if (number := next(numbers, None)) is None:
                    break
                running[pool.submit(_try, trial, number, f"{given.seed}/{kind}/{number}")] = number
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                found, number = future.result(), running.pop(future)
                tried += sum(outcome.tried for outcome in found)
                repeat = f"python -m tests.soak {kind} --seed {given.seed} --only {number}"
                for outcome in found:
                    if not (outcome.survived and outcome.equal):
                        print(f"[{outcome.row}] {repeat}\n{outcome.problem or 'the result differs'}\n", flush=True)
                print(f"{kind} {number}: {found[-1].row}, {tried} of {count} tried", file=sys.stderr, flush=True)
                yield from found


def _try(trial: Trial, number: int, seed: str) -> list[Outcome]:
    try:
        return trial(number, random.Random(seed))
    except Exception:
        return [Outcome("the campaign itself", 0, traceback.format_exc())]


if __name__ == "__main__":
    sys.exit(main())
