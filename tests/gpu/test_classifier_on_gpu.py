"""A classifier on a GPU: it trains in every precision, resumes, predicts as a CPU does, and fails with a sentence."""

import contextlib
import json
import os
import signal
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from madgrad import MADGRAD
from torch import nn

from jobs.contract.exits import BadInput, DeviceFailed
from jobs.contract.experiment import ClassifierInference
from jobs.films.dataset import Dataset
from jobs.nets.classifier.inference import predict
from jobs.nets.classifier.madgrad import ForeachMADGRAD
from jobs.nets.classifier.net import create_classifier
from jobs.nets.device.determinism import set_determinism
from jobs.nets.device.failures import explained
from jobs.nets.device.precision import resolve_precision
from jobs.runtime.checkpoint import Tensors
from jobs.train_classifier.loop import ClassifierTraining
from tests.jobs.nets.classifier import lab as classifier_lab
from tests.jobs.nets.classifier.films import TINY, training_inputs

# Of probabilities, between a GPU and a CPU in float32. GPUs from Ampere on compute convolutions in TF32, of 10 bits.
TOLERANCE = {"fp32": 5e-3, "fp16": 1e-2, "bf16": 5e-2}


def train(
    films: Dataset, device: str, until: int | None = None, kept: Any = None, workers: int = 0, **changes: Any
) -> ClassifierTraining:
    model = TINY.model_copy(update=changes)
    set_determinism(model.deterministic, device)
    return classifier_lab.train(films, model, until, kept, device, workers)


def kept(training: ClassifierTraining) -> tuple[Tensors, dict[str, Any]]:
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in training.tensors().items()}
    return tensors, json.loads(json.dumps(training.state()))


def on_cpu(tensors: Tensors) -> Tensors:
    return {name: value.detach().cpu() for name, value in tensors.items()}


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "fp16"])
@pytest.mark.parametrize("optimizer", ["madgrad", "adam"])
def test_it_trains_in_every_precision_to_float32_weights(films: Dataset, device: str, precision: str, optimizer: str):
    training = train(films, device, precision=precision, optimizer=optimizer, ema=0.9, clip=1.0)
    weights = [value for value in training.scored.state_dict().values() if value.is_floating_point()]
    assert all(value.dtype is torch.float32 and value.isfinite().all() for value in weights)
    assert training.finished


def test_auto_is_bf16_from_ampere_on_and_fp16_before(cuda: str):
    expected = "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"
    assert resolve_precision("auto", cuda) == expected


@pytest.mark.parametrize("optimizer", ["madgrad", "adam"])
@pytest.mark.parametrize("deterministic", [True, False])
def test_a_resumed_training_ends_as_one_left_alone(films: Dataset, device: str, optimizer: str, deterministic: bool):
    changes = {"optimizer": optimizer, "deterministic": deterministic, "ema": 0.9, "augment": "hard", "dropout": 0.3}
    alone = train(films, device, **changes)
    resumed = train(films, device, kept=kept(train(films, device, until=3, **changes)), **changes)
    own, its = alone.tensors(), resumed.tensors()
    assert {name: value.stride() for name, value in own.items()} == {
        name: value.stride() for name, value in its.items() if not name.startswith("best.")
    } | {name: value.stride() for name, value in own.items() if name.startswith("best.")}
    if deterministic or device == "cpu":
        assert [name for name, value in on_cpu(own).items() if not torch.equal(value, on_cpu(its)[name])] == []
    else:  # promised: the same position, films and augmentation; kernels may add in another order
        curves = [[row["train_loss"] for row in one.position.curve] for one in (alone, resumed)]
        np.testing.assert_allclose(*curves, rtol=0.1)


def test_loader_processes_change_no_bit(films: Dataset, device: str):
    changes = {"deterministic": True, "augment": "hard"}
    own, its = (on_cpu(train(films, device, workers=workers, **changes).tensors()) for workers in (0, 2))
    assert all(torch.equal(value, its[name]) for name, value in own.items())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("tta", ["none", "flip"])
def test_it_predicts_as_a_cpu_does(films: Dataset, cuda: str, precision: str, tta: str):
    inference = ClassifierInference(tta=tta, batch=5)  # type: ignore[arg-type]
    model = TINY.model_copy(update={"precision": precision, "inference": inference})
    pack, rows, net = films.pack(64), np.arange(len(films.index)), create_classifier(model, 1, None)
    there = predict(net.to(cuda), model, pack, rows, cuda)
    here = predict(net.cpu(), model.model_copy(update={"precision": "fp32"}), pack, rows, "cpu")
    assert abs(there - here).max() < TOLERANCE[precision]


def test_foreach_madgrad_moves_weights_as_the_package_does(device: str):
    torch.manual_seed(0)
    one = [nn.Parameter(torch.randn(shape, device=device)) for shape in ((64, 32, 3, 3), (64,), (10, 64))]
    other = [nn.Parameter(value.detach().clone()) for value in one]
    ours, theirs = ForeachMADGRAD(one, lr=1e-2, weight_decay=1e-3), MADGRAD(other, lr=1e-2, weight_decay=1e-3)
    for step in range(10):
        torch.manual_seed(step)
        for mine, its in zip(one, other, strict=True):
            mine.grad = torch.randn_like(mine)
            its.grad = mine.grad.clone()
        ours.step()
        theirs.step()
    for mine, its in zip(one, other, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["madgrad", "adam"])
def test_a_step_synchronises_once(films: Dataset, cuda: str, optimizer: str):
    precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    training = train(films, cuda, until=2, optimizer=optimizer, ema=0.9, clip=1.0, precision=precision)
    inputs = training.inputs
    batch = inputs.training.batch(range(4), inputs.pack, training.masks)
    parts = {name: value.pin_memory() for name, value in batch._asdict().items() if value is not None}
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            training._step(training.model.stages[0], [batch._replace(**parts)])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len([one for one in caught if "synchroniz" in str(one.message)]) <= 1


@pytest.mark.parametrize("mode", ["cudagraphs", "default", "reduce-overhead"])
def test_a_compiled_training_is_as_good(films: Dataset, cuda: str, mode: str):
    plain, compiled = (train(films, cuda, compile=each, augment="none", precision="fp32") for each in ("none", mode))
    losses = [training.position.curve[-1]["train_loss"] for training in (plain, compiled)]
    assert losses[1] == pytest.approx(losses[0], rel=0.2)


def test_a_batch_that_memory_does_not_hold_is_bad_input_that_names_the_knob(cuda: str):
    free, _ = torch.cuda.mem_get_info()
    with pytest.raises(BadInput, match="lower batch and raise accumulate"), explained(4096, 512, "batch"):
        torch.empty(2 * free, dtype=torch.uint8, device=cuda)


def test_a_killed_loader_process_is_a_failure_to_try_again(films: Dataset, device: str):
    model = TINY.model_copy(update={"augment": "hard"})
    training = ClassifierTraining(training_inputs(films, model), device, 2)

    def kill(loss: float | None, films: int) -> None:
        for child in _children():
            os.kill(child, signal.SIGKILL)

    with pytest.raises(DeviceFailed, match="helper process was killed"), explained(4, 64, "batch"):
        training.run(kill, lambda metrics: None)


def _children() -> list[int]:
    children = Path(f"/proc/self/task/{threading.main_thread().native_id}/children").read_text()
    return [int(pid) for pid in children.split() if _loads(int(pid))]


def _loads(pid: int) -> bool:
    """Whether a child is a loader's process: forked, so it has this process's own command line."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text() == Path("/proc/self/cmdline").read_text()
    return False
