"""A tiny run, done once without disturbance; each trial gets a store that is as it was before some step of it."""

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from jobs.contract import environment
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.task import TaskId
from jobs.runtime.store import Store
from tests.soak.processes import MARK, ROOT, Process, Warm, end_left_behind, patience
from workflows.store.embedded import BUCKET, Server, embedded_s3

RUN, TEST_RUN = "soak", "soak-test"
EXPERIMENT: dict[str, Any] = {
    "name": "soak",
    "data": {"source": "phantom:patients=12,seed=3,size=128"},
    "folds": {"count": 2, "run": [0]},
    "classifiers": {
        "net": {
            "backbone": "test_efficientnet", "size": 64, "batch": 4, "stages": [{"lr": 3e-3, "epochs": 4}],
            "aux": {"layers": 2, "channels": 8},
        },
    },
    "detectors": {"yolo": {"model": "yolov8n", "width": 0.125, "size": 64, "epochs": 4, "batch": 4, "warmup": 0}},
    "evaluation": {"bootstrap": 20, "gallery": 2},
}  # fmt: skip
TEST_EXPERIMENT = EXPERIMENT | {"data": {"source": "phantom:patients=4,seed=9,size=128"}}
# Outputs that tell times, so that two runs cannot share them.
TIMED = ("curve.json", "report.html", "metrics.json")


@dataclass(frozen=True)
class Step:
    """A task of one of the two runs."""

    task: TaskId
    test: bool = False  # of the run that predicts a test set

    @property
    def run(self) -> str:
        return TEST_RUN if self.test else RUN

    @property
    def argv(self) -> list[str]:
        options = [] if self.task.model is None else ["--model", self.task.model, "--fold", str(self.task.fold)]
        return ["jobs", str(self.task.stage), *options]

    def __str__(self) -> str:
        of = f" {self.task.model}" if self.task.stage is Stage.PREDICT else ""
        return f"{self.task.stage}{of}{' test' if self.test and not of else ''}"


PREPARE = Step(TaskId(Stage.PREPARE))
CLASSIFIER = Step(TaskId(Stage.TRAIN_CLASSIFIER, "net", 0))
DETECTOR = Step(TaskId(Stage.TRAIN_DETECTOR, "yolo", 0))
ENSEMBLE = Step(TaskId(Stage.ENSEMBLE))
EVALUATE = Step(TaskId(Stage.EVALUATE))
STEPS = (
    PREPARE, CLASSIFIER, DETECTOR, ENSEMBLE, EVALUATE,
    Step(TaskId(Stage.PREPARE), test=True),
    Step(TaskId(Stage.PREDICT, "net", 0), test=True), Step(TaskId(Stage.PREDICT, "yolo", 0), test=True),
    Step(TaskId(Stage.ENSEMBLE), test=True),
)  # fmt: skip

Result = dict[str, str]  # what a step left: output → SHA-256


@dataclass
class Place:
    """A store and folders of a trial's own."""

    world: "World"
    store: Store
    folder: Path
    variables: dict[str, str]
    logs: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def cache(self) -> Path:
        return Path(self.variables[environment.CACHE])

    def objects(self) -> dict[str, bytes]:
        """All that the store holds, by key."""
        keys = [entry.key for entry in self.store.list()]
        with ThreadPoolExecutor(8) as pool:
            return dict(zip(keys, pool.map(self.store.get, keys), strict=True))

    def start(self, step: Step, **variables: str) -> Process:
        """Start a step as a process."""
        with self._lock:
            self.logs += 1
            log = self.folder / f"{self.logs:02d}-{step.task.name}.log"
        experiment = TEST_EXPERIMENT if step.test else EXPERIMENT
        of_run = {environment.RUN: step.run, environment.EXPERIMENT: json.dumps(experiment)}
        of_run |= {environment.FROM_RUN: RUN} if step.test else {}
        return self.world.warm.start(step.argv, self.variables | of_run | variables, log, self.folder)

    def result(self, step: Step) -> Result:
        """What a step has left: the content of each output, and the scores.

        Raises:
            KeyError: it has left nothing.
        """
        reference = self.store.get_json(layout.reference(step.run, step.task))
        found: Result = {}
        for kind, digest in reference["works"].items():
            done = self.store.get_json(layout.done(layout.work(step.task.stage, digest)))
            outputs = {name: output["sha256"] for name, output in done["outputs"].items() if name not in TIMED}
            found |= {f"{kind}/{name}": sha256 for name, sha256 in outputs.items()}
            scores = {name: score for name, score in done["scores"].items() if "seconds" not in name}
            found[f"{kind} scores"] = json.dumps(scores, sort_keys=True)
        return found


@dataclass(frozen=True)
class Reference:
    """A step of the undisturbed run, and the state of store and cache before it."""

    objects: dict[str, bytes]  # all that the store held, by key
    cache: Path | None  # a copy of the node's cache
    result: Result
    seconds: float


@dataclass
class World:
    """A server, the process that forks, and the undisturbed run, done as far as it was asked for."""

    folder: Path
    warm: Warm
    server: Server
    undisturbed: "Place | None" = None
    places: int = 0
    _done: dict[Step, Reference] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def step(self, step: Step) -> Reference:
        """A step of the undisturbed run, done now unless it was before."""
        with self._lock:
            for each in STEPS[: STEPS.index(step) + 1]:
                if each not in self._done:
                    self._done[each] = self._do(each)
            return self._done[step]

    def finished(self) -> dict[str, bytes]:
        """All that both runs leave, by key."""
        self.step(STEPS[-1])
        assert self.undisturbed is not None
        return self.undisturbed.objects()

    def _do(self, step: Step) -> Reference:
        place = self.undisturbed
        assert place is not None
        objects = place.objects()
        cache = self.folder / f"cache-{len(self._done)}" if place.cache.exists() else None
        if cache:
            shutil.copytree(place.cache, cache, symlinks=True)
        began = time.monotonic()
        process = place.start(step)
        if process.wait(patience()) != 0:
            raise RuntimeError(f"The undisturbed run itself fails at {step} ({process.code}):\n{process.text()}")
        return Reference(objects, cache, place.result(step), time.monotonic() - began)

    @contextmanager
    def place(self, objects: Mapping[str, bytes] = {}, cache: Path | None = None) -> Iterator[Place]:
        """A store with these objects, and a copy of a cache; afterwards nothing runs there."""
        with self._lock:
            self.places += 1
            name = f"trial-{self.places:05d}"
        folder = self.folder / name
        folder.mkdir()
        variables = self.server.environment()
        variables[environment.STORE] += f"/{name}"
        variables |= {
            MARK: str(folder), environment.SCRATCH: str(folder / "scratch"), environment.CACHE: str(folder / "cache"),
            environment.THREADS: "1", environment.CHECKPOINT_SECONDS: "0", "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(ROOT), "HOME": str(self.folder), "TMPDIR": str(folder / "tmp"),
            "PATH": os.environ["PATH"], **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
        }  # fmt: skip
        for each in ("scratch", "tmp"):
            (folder / each).mkdir()
        if cache:
            shutil.copytree(cache, folder / "cache", symlinks=True)
        place = Place(self, replace(self._bucket, prefix=f"{name}/"), folder, variables)
        try:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda item: place.store.put(*item), objects.items()))
            yield place
        finally:
            end_left_behind(folder)
            shutil.rmtree(folder, ignore_errors=True)

    @cached_property
    def _bucket(self) -> Store:
        return Store.open(f"s3://{BUCKET}", endpoint=self.server.endpoint, addressing="path")


@contextmanager
def tiny_world(folder: Path, warm: Warm) -> Iterator[World]:
    """A server on which the undisturbed run is done as far as trials ask for it."""
    with embedded_s3(folder / "s3") as server:
        # Ours is a process of no trial: keys and region of the server go into this process' environment for boto3.
        os.environ |= server.environment()
        world = World(folder, warm, server)
        with world.place() as place:
            world.undisturbed = place
            yield world
