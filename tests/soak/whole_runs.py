"""``cv.py run`` killed with all that belongs to it, and its embedded server and guard under it."""

import os
import random
import re
import signal
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import yaml

from jobs.contract.exits import Exit
from tests.soak.processes import CV, MARK, ROOT, Process, Warm, end_left_behind, left_behind, patience
from tests.soak.table import Outcome
from tests.soak.trials import said_wrongly
from tests.soak.world import EXPERIMENT, RUN

KILL, TERM, STOP, INT_TWICE, SERVER, GUARD = "KILL", "TERM", "STOP", "INT twice", "KILL server", "KILL guard"
WAYS = (KILL, SERVER, TERM, GUARD, INT_TWICE, STOP)
AGAIN = 3  # times that the same command is given until it must have ended


class WholeRuns:
    """Runs of the tiny experiment, each with a cache, a store and a working directory of its own."""

    def __init__(self, folder: Path, warm: Warm) -> None:
        self.folder, self.warm, self.count = folder, warm, 0

    @cached_property
    def undisturbed(self) -> tuple[bytes, float]:
        """The submission of a run left alone, and the seconds it took."""
        folder, began = self._folder(), time.monotonic()
        process = self._start(folder)
        if process.wait(patience(240)) != Exit.DONE:
            raise SystemExit(f"The undisturbed run itself fails ({process.code}):\n{process.text()}")
        return (folder / "runs" / RUN / "submission.csv").read_bytes(), time.monotonic() - began

    def trial(self, way: str, chance: random.Random) -> Outcome:
        """Disturb a run once or twice, then give the same command until it ends well."""
        submission, usual = self.undisturbed
        folder, tried, problems = self._folder(), 0, []
        for _ in range(chance.choice((1, 2))):
            process = self._start(folder)
            if process.wait(chance.uniform(0, usual)) is not None:
                break
            tried += self._disturb(process, folder, way, chance)
            problems += self._after(process, folder, way)
        began = time.monotonic()
        for _ in range(AGAIN):
            last = self._start(folder)
            if last.wait(patience(240)) == Exit.DONE:
                break
            problems += said_wrongly(last)
        else:
            problems.append(f"the same command again ended with {last.code} (None: stuck):\n{last.text()[-2000:]}")
        seconds = time.monotonic() - began
        problems += said_wrongly(last) + self._left(folder)
        result = folder / "runs" / RUN / "submission.csv"
        equal = result.is_file() and result.read_bytes() == submission
        return Outcome(f"{way} of a whole run", tried, "; ".join(problems), equal, seconds)

    def _folder(self) -> Path:
        self.count += 1
        folder = self.folder / f"whole-{self.count:03d}"
        folder.mkdir()
        (folder / "soak.yaml").write_text(yaml.safe_dump(EXPERIMENT))
        return folder

    def _start(self, folder: Path) -> Process:
        variables = {
            MARK: str(folder), "XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder), "TMPDIR": str(folder),
            "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        log = folder / f"run-{len(list(folder.glob('run-*.log'))):02d}.log"
        return self.warm.start([CV, "run", "-e", "soak.yaml", "--run", RUN], variables, log, folder)

    def _disturb(self, process: Process, folder: Path, way: str, chance: random.Random) -> bool:
        if way in (SERVER, GUARD):
            target = ids_of(folder, b"weed" if way == SERVER else b"workflows.store.guard")
            for pid in target:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(patience(240))
            return bool(target)
        if way == STOP:
            process.send(signal.SIGSTOP)
            time.sleep(chance.uniform(1, 5))
            process.send(signal.SIGCONT)
            process.wait(patience(240))
            return True
        how = {TERM: signal.SIGTERM, INT_TWICE: signal.SIGINT}.get(way, signal.SIGKILL)
        process.send(how)
        if way == INT_TWICE:
            time.sleep(chance.uniform(0, 1))
            process.send(how)
        process.wait(patience())
        return True

    def _after(self, process: Process, folder: Path, way: str) -> list[str]:
        problems = said_wrongly(process)
        if process.code is None:
            problems.append(f"still there after {way}: {process.text()[-1000:]}")
            process.send(signal.SIGKILL)
            process.wait(10)
        elif process.code in (1, Exit.BUG, Exit.BAD_INPUT):
            problems.append(f"ended with {process.code} after {way}: {process.text()[-1000:]}")
        return problems + self._left(folder)

    def _left(self, folder: Path) -> list[str]:
        left = left_behind(folder, seconds=20)
        end_left_behind(folder)
        return [f"left processes behind: {left}"] if left else []


def ids_of(folder: Path, word: bytes) -> list[int]:
    """Ids of the processes whose command line holds a word and the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if word in command and re.search(re.escape(os.fsencode(folder)) + rb"/", command):
                found.append(int(process.name))
    return found
