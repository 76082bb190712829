"""For every field of a detector, a check that changing it changes the result.

``LIVENESS`` maps a field of the experiment's ``Detector`` (``inference.tta`` for a field of its inference) to a
function that takes a folder of its own and fails where the change leaves batch, update or output as they were.
"""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from jobs.contract.experiment import Detector, DetectorInference
from jobs.contract.stored.records import Output
from jobs.films.dataset import Dataset
from jobs.nets.prediction import selected_output
from jobs.nets.yolo.data import DetectorFilms
from jobs.nets.yolo.model import build, initial
from jobs.nets.yolo.predict import predict
from jobs.nets.yolo.state import under
from tests.jobs.nets.liveness_start import overlap
from tests.jobs.nets.yolo.films import TINY, write_films
from tests.jobs.nets.yolo.lab import Falling, Memory, same, training

Check = Callable[[Path], None]

# Two epochs of two batches, nothing random but what a check turns on.
BASE = TINY.model_copy(
    update={
        "epochs": 2, "warmup": 0.0, "mosaic": 0.0, "mixup": 0.0, "close_mosaic": 0, "translate": 0.0, "scale": 0.0,
        "flip": 0.0, "brightness": 0.0,
    }
)  # fmt: skip


@cache
def films() -> Dataset:
    return write_films(Path(mkdtemp()), sizes=(64, 96))


def first_batch(detector: Detector, folder: Path) -> torch.Tensor:
    job = training(films(), detector, folder)
    job._setup_train()
    job.train_loader.start(0)
    images: torch.Tensor = next(iter(job.train_loader))["img"]
    return images


def in_the_batch(**changes: Any) -> Check:
    """The first batch holds other pixels."""

    def check(folder: Path) -> None:
        one = first_batch(BASE, folder)
        other = first_batch(BASE.model_copy(update=changes), folder)
        assert one.shape != other.shape or not torch.equal(one, other)

    return check


def weights_after(detector: Detector, folder: Path) -> Memory:
    memory = Memory()
    training(films(), detector, folder, memory).train()
    return memory


@cache
def weights_of_base() -> Memory:
    return weights_after(BASE, Path(mkdtemp()))


def in_the_update(of: Detector = BASE, **changes: Any) -> Check:
    """The raw weights at the end of training are others."""

    def check(folder: Path) -> None:
        one = weights_of_base() if of is BASE else weights_after(of, folder)
        other = weights_after(of.model_copy(update=changes), folder)
        assert not same(one.saved[-1][0], other.saved[-1][0])

    return check


def in_the_rates(**changes: Any) -> Check:
    """The epochs' learning rates are others."""

    def rates(detector: Detector, folder: Path) -> list[float]:
        job = training(films(), detector, folder)
        job._setup_train()
        return [job.lf(epoch) for epoch in range(job.epochs)]

    def check(folder: Path) -> None:
        long = BASE.model_copy(update={"epochs": 5})
        assert rates(long, folder) != rates(long.model_copy(update=changes), folder)

    return check


def in_the_net(**changes: Any) -> Check:
    """The net has other tensors."""

    def check(folder: Path) -> None:
        one, other = build(BASE).state_dict(), build(BASE.model_copy(update=changes)).state_dict()
        assert {n: t.shape for n, t in one.items()} != {n: t.shape for n, t in other.items()}

    return check


def pretrained_weights(folder: Path) -> None:
    given = initial(BASE, seed=99).state_dict()
    named = BASE.model_copy(update={"weights": "given"})
    assert not same(initial(BASE, 3).state_dict(), initial(named, 3, given).state_dict())


def patience(folder: Path) -> None:
    def epochs(patience: int | None) -> int:
        job = training(films(), BASE.model_copy(update={"epochs": 3, "patience": patience}), folder)
        memory = Memory()
        Falling(job.detector, job.setup, memory, job.progress, job.wish).train()
        return len(memory.saved)

    assert (epochs(None), epochs(1)) == (3, 2)


def output(size: int = 64, tta: bool = False, **settings: Any) -> tuple[Any, int]:
    """Boxes of an untrained net, and in how many batches they were predicted."""
    dataset, batches = films(), []
    chosen = DetectorFilms.of(dataset, np.arange(len(dataset.index)), size)
    found = predict(initial(BASE, 3), chosen, DetectorInference(**settings), "cpu", batches.append, tta=tta)
    return found.boxes, len(batches)


def in_the_boxes(**changes: Any) -> Check:
    """The boxes are others."""

    def check(folder: Path) -> None:
        assert not output()[0].equals(output(**changes)[0])

    return check


def batches_of_inference(folder: Path) -> None:
    assert output(batch=12)[1] == 1
    assert output(batch=5)[1] == math.ceil(12 / 5)


def selected_weights(folder: Path) -> None:
    memory = Memory()
    training(films(), BASE, folder, memory).train()
    kept = {"best": under("ema/", memory.saved[0][0]), "last": under("ema/", memory.saved[-1][0])}
    outputs = {f"{name}.safetensors": Output(key=name, sha256="", size=0) for name in kept}
    chosen = [kept[selected_output(outputs, DetectorInference(select=which)).key] for which in ("best", "last")]
    assert not same(*chosen)


def deterministic(folder: Path) -> None:
    with patch("jobs.nets.yolo.trainer.set_determinism") as chosen:
        for wanted in (True, False):
            training(films(), BASE.model_copy(update={"deterministic": wanted}), folder)
    assert [call.args for call in chosen.call_args_list] == [(True, "cpu"), (False, "cpu")]


def compiled(folder: Path) -> None:
    with patch("torch.compile", side_effect=lambda net, mode: net) as compiler:
        for mode in ("none", "reduce-overhead"):
            training(films(), BASE.model_copy(update={"compile": mode}), folder)._setup_train()
    assert [call.kwargs for call in compiler.call_args_list] == [{"mode": "reduce-overhead"}]


def eval_batch(folder: Path) -> None:
    jobs = [training(films(), BASE.model_copy(update={"eval_batch": size}), folder) for size in (None, 3)]
    assert [job.scoring.batch for job in jobs] == [2 * BASE.batch, 3]


def train_score_every(folder: Path) -> None:
    curve = weights_after(BASE.model_copy(update={"train_score_every": 2}), folder).saved[-1][1]["curve"]
    assert [row["train_score"] is None for row in curve] == [True, False]


LIVENESS: dict[str, Check] = {
    "precision": in_the_update(precision="bf16"),
    "deterministic": deterministic,
    "compile": compiled,
    "eval_batch": eval_batch,
    "train_score_every": train_score_every,
    "model": in_the_net(model="yolo11n"),
    "width": in_the_net(width=0.25),
    "weights": pretrained_weights,
    "overlap": overlap(BASE),
    "size": in_the_batch(size=96),
    "epochs": in_the_update(epochs=1),
    "batch": in_the_batch(batch=2),
    "accumulate": in_the_update(accumulate=2),
    "nominal_batch": in_the_update(nominal_batch=8),
    "optimizer": in_the_update(optimizer="AdamW"),
    "lr": in_the_update(lr=0.02),
    "final_lr": in_the_rates(final_lr=0.5),
    "schedule": in_the_rates(schedule="cosine"),
    "momentum": in_the_update(momentum=0.5),
    "weight_decay": in_the_update(weight_decay=0.1),
    "warmup": in_the_update(warmup=1.0),
    "warmup_batches": in_the_update(warmup_batches=2),
    "mosaic": in_the_batch(mosaic=1.0),
    "mixup": in_the_batch(mixup=1.0),
    "close_mosaic": in_the_update(BASE.model_copy(update={"mosaic": 1.0}), close_mosaic=1),
    "degrees": in_the_batch(degrees=45.0),
    "translate": in_the_batch(translate=0.5),
    "scale": in_the_batch(scale=0.5),
    "shear": in_the_batch(shear=30.0),
    "flip": in_the_batch(flip=1.0),
    "brightness": in_the_batch(brightness=0.5),
    "patience": patience,
    "inference.size": in_the_boxes(size=96),
    "inference.tta": in_the_boxes(tta=True),
    "inference.select": selected_weights,
    "inference.confidence": in_the_boxes(confidence=0.01),
    "inference.iou": in_the_boxes(iou=0.2),
    "inference.max_boxes": in_the_boxes(max_boxes=1),
    "inference.batch": batches_of_inference,
}
