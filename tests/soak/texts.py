"""Texts that people write: experiments, profiles, values of ``--set``, label tables, submissions; wrong in every way.

A command that reads one ends well, or says in a sentence which file is wrong, soon and in little memory.
"""

import csv
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from jobs.contract.exits import Exit
from tests.soak.processes import CV, MARK, ROOT, Process, Warm, patience
from tests.soak.table import Outcome
from tests.soak.text_mutations import BENIGN, NO_TEXT, TABLE, TEXT, VALUES, YAML
from tests.soak.trials import Trial, said_wrongly
from tests.soak.world import EXPERIMENT, World

MEMORY: Final = 1 << 30  # bytes beyond what the same command takes with the right text
PATIENTS: Final = 5
USAGE: Final = 2


@dataclass(frozen=True)
class Reader:
    """A command that reads a text.

    Attributes:
        name: the table's row.
        file: what it reads, in its folder; empty for ``--set``.
        argv: the command.
        mutations: by name, besides those of any text.
    """

    name: str
    file: str
    argv: tuple[str, ...]
    mutations: dict[str, Callable[[bytes, random.Random], bytes]]


RENDER: Final = (CV, "render", "-e", "soak.yaml")
AUDIT: Final = ("jobs", "audit", "--labels", ".")
READERS: Final = (
    Reader("an experiment", "soak.yaml", RENDER, YAML),
    Reader("a profile", "profile.yaml", (*RENDER, "--profile", "profile.yaml"), YAML),
    Reader("--set", "", RENDER, {}),
    Reader("study labels", "train_study_level.csv", AUDIT, TABLE),
    Reader("image labels", "train_image_level.csv", AUDIT, TABLE),
    Reader("patients", "train_meta.csv", AUDIT, TABLE),
    Reader("a submission", "submission.csv",
           ("jobs", "score", "--predictions", "submission.csv", "--labels", ".", "--json"), TABLE),
)  # fmt: skip


@contextmanager
def trials(world: World, folder: Path) -> Iterator[Trial]:
    """Yield each reader in turn, with a random mutation of its text."""
    right = folder / "right"
    _write(right, world.warm)
    texts = {path.name: path.read_bytes() for path in right.iterdir() if path.is_file() and path.suffix != ".log"}
    undisturbed: dict[str, tuple[bytes, int]] = {}
    lock = threading.Lock()

    def run(reader: Reader, place: Path, *more: str) -> Process:
        return _start(world.warm, (*reader.argv, *more), place)

    def trial(number: int, chance: random.Random) -> list[Outcome]:
        reader = READERS[number % len(READERS)]
        with lock:
            if reader.name not in undisturbed:
                process = run(reader, right)
                if process.wait(patience()) != Exit.DONE:
                    raise RuntimeError(f"{reader.argv} fails on the right texts ({process.code}):\n{process.text()}")
                undisturbed[reader.name] = process.log.read_bytes(), process.memory
        said, memory = undisturbed[reader.name]
        place = folder / f"trial-{number:05d}"
        place.mkdir()
        for name, text in texts.items():
            (place / name).write_bytes(text)
        what, more = _disturb(reader, place, chance)
        began = time.monotonic()
        process = run(reader, place, *more)
        process.wait(patience())
        seconds = time.monotonic() - began
        problems = _problems(process, reader, memory)
        equal = what not in BENIGN or process.log.read_bytes() == said
        problems += [] if equal else [f"it says {process.log.read_bytes()!r:.600}\nin place of {said!r:.600}"]
        return [Outcome(reader.name, 1, "; ".join(f"[{what}] {p}" for p in problems), equal, seconds)]

    yield trial


def _write(folder: Path, warm: Warm) -> None:
    """The right texts of all kinds."""
    folder.mkdir()
    made = _start(warm, ("jobs", "phantom", ".", "--patients", str(PATIENTS)), folder)
    if made.wait(patience()) != 0:
        raise RuntimeError(made.text())
    (folder / "soak.yaml").write_text(yaml.safe_dump(EXPERIMENT, sort_keys=False))
    (folder / "profile.yaml").write_bytes((ROOT / "workflows" / "profiles" / "on-prem.yaml").read_bytes())
    with (folder / "train_image_level.csv").open() as images, (folder / "train_study_level.csv").open() as studies:
        films = list(csv.DictReader(images))
        ids = [row["id"] for row in csv.DictReader(studies)]
    patients = [f"{row['StudyInstanceUID']},patient{number // 2}" for number, row in enumerate(films)]
    (folder / "train_meta.csv").write_text("\n".join(["study,patient", *dict.fromkeys(patients)]) + "\n")
    answers = [f"{study},negative 0.5 0 0 1 1 typical 0.4 0 0 1 1" for study in ids]
    answers += [f"{film['id']},none 0.3 0 0 1 1 opacity 0.7 10 20.5 60 80" for film in films]
    (folder / "submission.csv").write_text("\n".join(["id,PredictionString", *answers]) + "\n")


def _disturb(reader: Reader, place: Path, chance: random.Random) -> tuple[str, list[str]]:
    """What is wrong now, and arguments that the command gets more."""
    if not reader.file:
        value = chance.choice(VALUES)
        return f"--set {value!r:.60}", ["--set", value]
    path = place / reader.file
    if chance.random() < 0.06:
        what = chance.choice(list(NO_TEXT))
        path.unlink()
        NO_TEXT[what](path)
        return what, []
    mutations = reader.mutations if chance.random() < 0.5 else TEXT
    what = chance.choice(list(mutations))
    path.write_bytes(mutations[what](path.read_bytes(), chance))
    return what, []


def _start(warm: Warm, argv: tuple[str, ...], folder: Path) -> Process:
    variables = {
        MARK: str(folder), "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"), "COLUMNS": "200",
    }  # fmt: skip
    return warm.start(argv, variables, folder / f"{argv[1]}.log", folder)


def _problems(process: Process, reader: Reader, memory: int) -> list[str]:
    text = process.text()
    if process.code is None:
        process.send(signal.SIGKILL, group=True)
        process.wait(10)
        return [f"stuck: {text[-300:]}"]
    problems = said_wrongly(process)
    if process.code not in (Exit.DONE, Exit.BAD_INPUT, USAGE):
        problems.append(f"ended with {process.code}: {text[-400:]}")
    if process.code == Exit.BAD_INPUT and reader.file not in text:
        problems.append(f"{reader.file} is not named in: {text[-400:]}")
    if process.memory - memory > MEMORY:
        problems.append(f"took {(process.memory - memory) >> 20} MiB")
    return problems
