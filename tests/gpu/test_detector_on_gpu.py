"""A detector on a GPU: it trains in every precision, resumes with every optimiser, and predicts as a CPU does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobs.contract.exits import BadInput, Stopped
from jobs.contract.experiment import DetectorInference
from jobs.films.dataset import Dataset
from jobs.nets.yolo.data import DetectorFilms
from jobs.nets.yolo.model import initial
from jobs.nets.yolo.predict import predict
from jobs.nets.yolo.trainer import DetectorTraining
from jobs.runtime.preemption import Stop
from tests.jobs.nets.yolo.films import TINY
from tests.jobs.nets.yolo.lab import Memory, Watcher, setup

OPTIMIZERS = ["SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSProp"]


def training(
    films: Dataset, device: str, folder: Path, memory: Memory, after: int | None = None, **changes: Any
) -> DetectorTraining:
    detector = TINY.model_copy(update=changes)
    stop = Stop()
    chosen = replace(setup(films, detector, folder), device=device, threads=2)
    return DetectorTraining(detector, chosen, memory, Watcher(stop, after), stop)


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "fp16"])
def test_it_trains_in_every_precision_to_float32_weights(
    box_films: Dataset, device: str, tmp_path: Path, precision: str
):
    memory = Memory()
    training(box_films, device, tmp_path, memory, precision=precision).train()
    tensors, state = memory.saved[-1]
    floating = [value for value in tensors.values() if value.is_floating_point()]
    assert all(value.dtype is torch.float32 and value.isfinite().all() for value in floating)
    assert state["finished"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("deterministic", [True, False])
def test_a_resumed_training_ends_as_one_left_alone(
    box_films: Dataset, device: str, tmp_path: Path, optimizer: str, deterministic: bool
):
    changes = {"optimizer": optimizer, "lr": 0.002, "deterministic": deterministic}
    alone, memory = Memory(), Memory()
    training(box_films, device, tmp_path, alone, **changes).train()
    with pytest.raises(Stopped):
        training(box_films, device, tmp_path, memory, after=3, **changes).train()
    resumed = training(box_films, device, tmp_path, memory, **changes)
    resumed.train()
    for parameter, state in resumed.optimizer.state.items():
        assert all(value.stride() == parameter.stride() for value in state.values() if value.shape == parameter.shape)
    own, its = alone.saved[-1][0], memory.saved[-1][0]
    if device == "cpu":
        assert all(torch.equal(value, its[name]) for name, value in own.items())
    else:
        # PyTorch has no deterministic kernel for some operations of ultralytics' loss, and warns: with the field on,
        # the films, their order and all kernels of the net are the same, without it also sums may differ.
        curves = [[row["train_loss"] for row in one.saved[-1][1]["curve"]] for one in (alone, memory)]
        np.testing.assert_allclose(*curves, rtol=1e-3 if deterministic else 0.1)


@pytest.mark.parametrize("tta", [False, True])
def test_it_predicts_as_a_cpu_does(box_films: Dataset, cuda: str, tta: bool):
    films = DetectorFilms.of(box_films, np.arange(len(box_films.index)), 64)
    settings = DetectorInference(batch=5, max_boxes=20)
    there, here = (
        predict(initial(TINY, 3), films, settings, device, lambda count: None, tta=tta).boxes
        for device in (cuda, "cpu")
    )
    # Of an untrained net, whose boxes are nearly alike, so that some may change places: confidences by rank.
    for image in box_films.index["image"]:
        one, other = (boxes[boxes["image"] == image]["confidence"].to_numpy() for boxes in (there, here))
        np.testing.assert_allclose(one, other[: len(one)], atol=5e-3)


def test_a_batch_that_memory_does_not_hold_is_bad_input(box_films: Dataset, cuda: str, tmp_path: Path):
    job = training(box_films, cuda, tmp_path, Memory())
    free, _ = torch.cuda.mem_get_info()
    job.setup.net.forward = lambda images: torch.empty(2 * free, dtype=torch.uint8, device=cuda)
    with pytest.raises(BadInput, match="do not hold a batch of 4 films at 64 px: lower batch"):
        job.train()


def test_a_checkpoint_of_a_gpu_goes_on_on_a_cpu(box_films: Dataset, cuda: str, tmp_path: Path):
    memory = Memory()
    with pytest.raises(Stopped):
        training(box_films, cuda, tmp_path, memory, after=3, optimizer="AdamW", lr=0.002).train()
    training(box_films, "cpu", tmp_path, memory, optimizer="AdamW", lr=0.002).train()
    assert memory.saved[-1][1]["finished"]
