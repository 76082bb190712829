"""Trainings on a GPU at the recipes' sizes, compared with a plain timm loop and plain ultralytics on the same films.

    python tests/benchmarks/bench_gpu.py            # on a CUDA device, about ten minutes
    python tests/benchmarks/bench_gpu.py --small    # anywhere, with tiny nets: shows that it runs to its end

Of each training: films a second, launches and synchronisations a step, the share of the time that it waits for films,
and the most memory. All sides see the same packed films, batch, size and precision; the peers read them through their
own usual loaders, and the plain timm loop augments nothing. Figures are printed, never asserted. Wanted on an H100: 1.5
times both peers, and less than 5 % of the time waiting.
"""

import argparse
import contextlib
import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import timm
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

import jobs.nets.yolo  # noqa: F401 - before ultralytics is imported anywhere
from jobs.contract.experiment import Classifier, Detector, LearningStage
from jobs.films.dataset import Pack, shard_name
from jobs.films.loader import Films
from jobs.nets.classifier.net import create_classifier
from jobs.nets.device.determinism import set_determinism
from jobs.nets.device.precision import TYPES, resolve_precision
from jobs.nets.yolo.arguments import Setup
from jobs.nets.yolo.data import DetectorFilms
from jobs.nets.yolo.model import initial
from jobs.nets.yolo.trainer import DetectorTraining
from jobs.runtime.preemption import Stop
from jobs.runtime.telemetry.stopwatch import Stopwatch
from jobs.train_classifier.loop import ClassifierTraining, TrainingInputs

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CLASSES = ("negative", "typical", "indeterminate", "atypical")


@dataclass
class Plan:
    """How much is run: steps that are timed, steps before them, loader processes."""

    small: bool
    timed: int
    warm: int
    workers: int


@dataclass
class Speed:
    """What was measured of one training."""

    films: float  # a second
    waiting: float  # share of the time
    memory: float  # GiB
    launches: float = 0.0  # a step
    synchronisations: float = 0.0  # a step

    def line(self, name: str, peer: "Speed | None" = None) -> str:
        ratio = f"   {self.films / peer.films:4.2f} x the peer" if peer else ""
        traced = f"{self.launches:7.0f} launches, {self.synchronisations:3.0f} syncs" if self.launches else " " * 27
        waiting = "    ?" if np.isnan(self.waiting) else f"{self.waiting:5.1%}"
        return f"{name:<26} {self.films:8.1f} films/s {traced}  {waiting} waiting  {self.memory:5.1f} GiB{ratio}"


class Enough(Exception):
    """Ends a training when it has been measured."""


class Meter:
    """Measures the steps of any training after the warm ones: call it after each step."""

    def __init__(self, plan: Plan, batch: int, spent: Stopwatch | None = None) -> None:
        self.plan, self.batch, self.spent = plan, batch, spent or Stopwatch()
        self.steps, self.began = 0, 0.0

    def __call__(self, *_: object, **__: object) -> None:
        self.steps += 1
        if self.steps == self.plan.warm:
            synchronise()
            self.began = time.monotonic()
            self.spent.seconds.clear()
        if self.steps == self.plan.warm + self.plan.timed:
            raise Enough

    def speed(self) -> Speed:
        synchronise()
        took = time.monotonic() - self.began
        waiting = self.spent.seconds.get("waiting", float("nan")) / took
        memory = torch.cuda.max_memory_allocated() / 2**30 if DEVICE == "cuda" else 0.0
        return Speed(self.plan.timed * self.batch / took, waiting, memory)


def synchronise() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


@contextlib.contextmanager
def fresh() -> Iterator[None]:
    """A device that holds nothing, and knows of no peak."""
    gc.collect()
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    yield


class Operations(TorchDispatchMode):
    """Counts operations, and those among them that make the host wait: on a CPU they stand for launches."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.waits = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        self.waits += func.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "_unique2")
        return func(*args, **(kwargs or {}))


def traced(speed: Speed, step: Callable[[], object], steps: int = 3) -> Speed:
    """Add launches and synchronisations a step."""
    if DEVICE == "cpu":
        with Operations() as operations:
            for _ in range(steps):
                step()
        speed.launches, speed.synchronisations = operations.count / steps, operations.waits / steps
        return speed
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
        for _ in range(steps):
            step()
    events = trace.key_averages()
    speed.launches = sum(event.count for event in events if "aunchKernel" in event.key) / steps
    speed.synchronisations = sum(event.count for event in events if event.key.endswith("StreamSynchronize")) / steps
    return speed


def films(folder: Path, size: int, count: int) -> tuple[pd.DataFrame, Pack]:
    """Smooth noise with one to three boxes on three films of four: an index and its pack."""
    rng, rows = np.random.default_rng(0), []
    shard = np.stack([cv2.resize(rng.integers(0, 255, (32, 32), dtype=np.uint8), (size, size)) for _ in range(count)])
    folder.mkdir(parents=True)
    np.save(folder / shard_name(0), shard)
    for number in range(count):
        corners = rng.uniform(0, 1000, (int(rng.integers(1, 4)) if number % 4 else 0, 2))
        boxes = np.hstack([corners, corners + rng.uniform(200, 900, corners.shape)]).tolist()
        study = f"s{number:05d}"
        rows.append(
            {
                "image": f"i{number:05d}", "study": study, "patient": study, "study_class": CLASSES[number % 4],
                "boxes": boxes, "width": 2000, "height": 2000, "fold": number % 5,
            }
        )  # fmt: skip
    return pd.DataFrame(rows), Pack(size, [folder / shard_name(0)])


def ours_classifier(model: Classifier, index: pd.DataFrame, pack: Pack, plan: Plan) -> Speed:
    held_out = index["fold"].to_numpy() == 0
    chosen, held = Films.of(index, ~held_out, model.size), Films.of(index, held_out, model.size)
    inputs = TrainingInputs(model, 1, pack, chosen, held, held, lambda: create_classifier(model, 1, None))
    set_determinism(model.deterministic, DEVICE)
    training = ClassifierTraining(inputs, DEVICE, plan.workers)
    meter = Meter(plan, model.batch, training.spent)
    with contextlib.suppress(Enough):
        training.run(meter, lambda metrics: None)
    speed = meter.speed()
    batch = chosen.batch(range(model.batch), pack, training.masks)
    return traced(speed, lambda: training._step(model.stages[0], [batch]))


class PlainFilms(TorchDataset[tuple[torch.Tensor, int]]):
    """What a plain loop reads: three float channels, normalised on the host, and a class."""

    def __init__(self, index: pd.DataFrame, pack: Pack) -> None:
        self.pack, self.labels = pack, [CLASSES.index(name) for name in index["study_class"]]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        film = torch.from_numpy(np.array(self.pack[number])).float() / 255
        return ((film - 0.45) / 0.22).expand(3, -1, -1), self.labels[number]


def plain_classifier(model: Classifier, index: pd.DataFrame, pack: Pack, plan: Plan) -> Speed:
    """timm's net with automatic mixed precision and the madgrad package, as a notebook trains it."""
    from madgrad import MADGRAD

    torch.backends.cudnn.benchmark = True
    net = timm.create_model(model.backbone, pretrained=False, num_classes=4, drop_path_rate=model.drop_path).to(DEVICE)
    net = net.to(memory_format=torch.channels_last)
    optimizer = MADGRAD(net.parameters(), lr=1e-3)
    precision = resolve_precision(model.precision, DEVICE)
    scaler = torch.amp.GradScaler(DEVICE, enabled=precision == "fp16")
    loader = DataLoader(
        PlainFilms(index, pack), model.batch, shuffle=True, num_workers=plan.workers, drop_last=True,
        pin_memory=DEVICE == "cuda", persistent_workers=plan.workers > 0,
    )  # fmt: skip

    def step(pixels: torch.Tensor, labels: torch.Tensor) -> None:
        optimizer.zero_grad()
        with torch.autocast(DEVICE, TYPES[precision], enabled=precision != "fp32"):
            loss = torch.nn.functional.cross_entropy(net(pixels), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        loss.item()

    meter = Meter(plan, model.batch)
    with contextlib.suppress(Enough):
        while True:
            batches = iter(loader)
            while True:
                with meter.spent.measure("waiting"):
                    batch = next(batches, None)
                if batch is None:
                    break
                pixels, labels = batch
                pixels = pixels.to(DEVICE, non_blocking=True, memory_format=torch.channels_last)
                step(pixels, labels.to(DEVICE, non_blocking=True))
                meter()
    return traced(meter.speed(), lambda: step(pixels, labels.to(DEVICE)))


class Watcher:
    """The progress of a detector's training: only its steps count."""

    def __init__(self, meter: Meter) -> None:
        self.meter, self.spent = meter, meter.spent

    def step(self, **_: object) -> None:
        self.meter()

    def phase(self, *_: object, **__: object) -> None:
        """Nothing to show."""

    epoch = phase


class Nowhere:
    """Checkpoints that are not kept."""

    def load(self) -> None:
        """There is none."""

    def save(self, *_: object) -> None:
        """Not kept."""


def detector_films(index: pd.DataFrame, pack: Pack) -> DetectorFilms:
    return DetectorFilms(index, np.arange(len(index)), pack)


def ours_detector(detector: Detector, index: pd.DataFrame, pack: Pack, plan: Plan) -> Speed:
    chosen = detector_films(index, pack)
    meter = Meter(plan, detector.batch)
    watcher: Any = Watcher(meter)
    checkpoints: Any = Nowhere()
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(
            net=initial(detector, 1), train=chosen, valid=chosen.sample(16, 1), seed=1, device=DEVICE,
            threads=plan.workers + 1, folder=Path(folder),
        )  # fmt: skip
        training = DetectorTraining(detector, setup, checkpoints, watcher, Stop())
        with contextlib.suppress(Enough):
            training.train()
        speed = meter.speed()
        training.train_loader.num_workers = 0
        batch = next(iter(training.train_loader))
    return traced(speed, lambda: training._step(1, dict(batch)))


def plain_detector(detector: Detector, index: pd.DataFrame, pack: Pack, plan: Plan) -> Speed:
    """ultralytics' own trainer, on image files, with its defaults but for what the experiment says."""
    from ultralytics import YOLO

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("images", "labels"):
            (folder / part).mkdir()
        for row, boxes in zip(index.itertuples(), detector_films(index, pack).boxes, strict=True):
            cv2.imwrite(str(folder / "images" / f"{row.image}.png"), pack[row.Index])
            lines = [f"0 {' '.join(f'{value:.6f}' for value in box)}" for box in boxes]
            (folder / "labels" / f"{row.image}.txt").write_text("\n".join(lines))
        (folder / "data.yaml").write_text(f"path: {folder}\ntrain: images\nval: images\nnames: {{0: opacity}}\n")
        meter = Meter(plan, detector.batch)
        net = YOLO(f"{detector.model.removesuffix('u')}.yaml")
        net.add_callback("on_train_batch_end", meter)
        with contextlib.suppress(Enough):
            net.train(
                data=str(folder / "data.yaml"), epochs=1000, imgsz=detector.size, batch=detector.batch,
                device=_device(), workers=plan.workers, optimizer=detector.optimizer, lr0=detector.lr,
                mosaic=detector.mosaic, mixup=detector.mixup, pretrained=False, plots=False, save=False, val=False,
                verbose=False, amp=False if DEVICE == "cpu" else "fp16", project=str(folder), name="plain",
            )  # fmt: skip
        return meter.speed()


def _device() -> str:
    return "0" if DEVICE == "cuda" else "cpu"


def recipes(small: bool) -> tuple[dict[str, Classifier], dict[str, Detector]]:
    """The recipes' nets, or tiny ones."""
    stages = (LearningStage(lr=1e-3, epochs=1000),)
    if small:
        tiny = Classifier(backbone="test_efficientnet", size=64, batch=4, stages=stages, aux=None)
        return {"tiny": tiny}, {"yolov8n": Detector(model="yolov8n", size=64, batch=4, epochs=1000)}
    b3 = Classifier(stages=stages, aux=None)
    hard = {"dropout": 0.5, "drop_path": 0.4, "augment": "hard", "stages": stages, "batch": 16, "aux": None}
    classifiers = {
        "b3": b3,
        "b3, CUDA graphs": b3.model_copy(update={"compile": "cudagraphs"}),
        "b3, compiled": b3.model_copy(update={"compile": "reduce-overhead"}),
        "b3, deterministic": b3.model_copy(update={"deterministic": True}),
        "v2-s": Classifier(backbone="tf_efficientnetv2_s", **hard),  # type: ignore[arg-type]
        "v2-m": Classifier(backbone="tf_efficientnetv2_m", **hard),  # type: ignore[arg-type]
    }
    detectors = {
        "yolov5m": Detector(model="yolov5mu", batch=16, epochs=1000, mixup=0.5),
        "yolov5x": Detector(model="yolov5xu", batch=24, epochs=1000, mixup=0.5),
    }
    return classifiers, detectors


def main() -> None:
    """Print a line per training, with its ratio to the peer."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="tiny nets and few steps")
    options = parser.parse_args()
    if DEVICE == "cpu" and not options.small:
        print("skipped: PyTorch finds no CUDA device; --small runs tiny nets on the CPU")
        return
    small = options.small
    plan = Plan(True, 6, 2, 0) if small else Plan(False, 60, 20, 8)
    classifiers, detectors = recipes(small)
    name = torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU (operations stand for launches)"
    print(f"{name}, torch {torch.__version__}, {resolve_precision('auto', DEVICE)}")
    with tempfile.TemporaryDirectory() as folder:
        index, pack = films(Path(folder) / "films", 64 if small else 512, 40 if small else 640)
        sides: list[tuple[str, Callable[..., Speed], Callable[..., Speed], Any]] = [
            *((name, ours_classifier, plain_classifier, model) for name, model in classifiers.items()),
            *((name, ours_detector, plain_detector, model) for name, model in detectors.items()),
        ]
        for name, ours, plain, model in sides:
            try:
                with fresh():
                    theirs = plain(model, index, pack, plan)
                with fresh():
                    mine = ours(model, index, pack, plan)
            except Exception as error:  # one training that fails must not hide the others
                print(f"{name:<26} failed: {type(error).__name__}: {str(error)[:200]}", flush=True)
                continue
            print(mine.line(name, theirs))
            print(theirs.line("  plain" + (" timm" if isinstance(model, Classifier) else " ultralytics")), flush=True)


if __name__ == "__main__":
    main()
