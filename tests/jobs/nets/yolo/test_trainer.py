import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from jobs.contract.exits import BadInput, Stopped
from jobs.contract.experiment import Detector
from jobs.films.dataset import Dataset
from jobs.nets.yolo.loss import MOST_BOXES, DetectionLoss, most_boxes
from jobs.nets.yolo.state import under
from jobs.nets.yolo.trainer import DetectorTraining, Diverged
from jobs.runtime.checkpoint import Tensors
from tests.jobs.nets.yolo.films import TINY, write_films
from tests.jobs.nets.yolo.lab import Falling, Memory, Watcher, same, training

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_films(tmp_path_factory.mktemp("films"))


def finish(dataset: Dataset, detector: Detector, folder: Path, memory: Memory | None = None) -> Memory:
    memory = memory or Memory()
    training(dataset, detector, folder, memory).train()
    return memory


def interrupted(dataset: Dataset, detector: Detector, folder: Path, after: int) -> Memory:
    """Stopped after some batches, then trained to its end by another trainer."""
    memory = Memory()
    with pytest.raises(Stopped):
        training(dataset, detector, folder, memory, after=after).train()
    return finish(dataset, detector, folder, memory)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "AdamW", "lr": 0.002, "accumulate": 2},
        {"optimizer": "NAdam", "lr": 0.002, "close_mosaic": 2, "schedule": "cosine"},
        {"batch": 2, "nominal_batch": 6, "warmup_batches": 7},
        {"model": "yolo11n", "optimizer": "RMSProp", "lr": 0.0005},
        {"model": "yolov5nu", "optimizer": "RAdam", "lr": 0.002},
    ],
)
def test_a_training_stopped_in_its_second_epoch_ends_like_one_left_alone(changes, dataset: Dataset, tmp_path: Path):
    detector = TINY.model_copy(update=changes)
    alone = finish(dataset, detector, tmp_path)
    resumed = interrupted(dataset, detector, tmp_path, after=3)
    assert [state["epoch"] for _, state in resumed.saved] == [0, 1, 2]
    assert same(alone.saved[-1][0], resumed.saved[-1][0])
    timeless = [[{**row, "seconds": 0} for row in m.saved[-1][1]["curve"]] for m in (alone, resumed)]
    assert timeless[0] == timeless[1]


def test_a_resumed_channels_last_net_has_optimizer_state_in_its_parameters_strides(dataset: Dataset, tmp_path: Path):
    memory = Memory()
    with pytest.raises(Stopped):
        training(dataset, TINY, tmp_path, memory, after=3).train()
    resumed = training(dataset, TINY, tmp_path, memory)
    resumed.setup.net.to(memory_format=torch.channels_last)
    resumed.train()
    pairs = [
        (parameter.stride(), value.stride())
        for parameter, state in resumed.optimizer.state.items()
        for value in state.values()
        if value.dim() == 4
    ]
    assert any(
        own != torch.empty(shape).stride() for own, shape in ((p.stride(), p.shape) for p in resumed.optimizer.state)
    )
    assert all(own == state for own, state in pairs)


def test_a_resumed_training_reports_the_epochs_of_its_checkpoint_and_its_own(dataset: Dataset, tmp_path: Path):
    memory = Memory()
    with pytest.raises(Stopped):
        training(dataset, TINY, tmp_path, memory, after=3).train()
    resumed = training(dataset, TINY, tmp_path, memory)
    resumed.train()
    assert len(resumed.curve) == TINY.epochs
    assert vars(resumed.progress)["tracked"] == [(row["epoch"] + 1, row["val_score"]) for row in resumed.curve]


def test_what_a_checkpoint_lacks_shows_in_the_weights(dataset: Dataset, tmp_path: Path):
    memory = Memory()
    alone = finish(dataset, TINY, tmp_path)
    with pytest.raises(Stopped):
        training(dataset, TINY, tmp_path, memory, after=3).train()
    tensors, state = memory.saved[-1]
    momentum = {name: torch.zeros_like(t) if name.startswith("optimizer/") else t for name, t in tensors.items()}
    memory.saved[-1] = (momentum, state)
    assert not same(alone.saved[-1][0], finish(dataset, TINY, tmp_path, memory).saved[-1][0])


def test_the_checkpoint_of_the_last_epoch_says_that_training_is_over(dataset: Dataset, tmp_path: Path):
    states = [state["finished"] for _, state in finish(dataset, TINY, tmp_path).saved]
    assert states == [False, False, True]


def test_the_curve_has_loss_and_score_on_both_sides(dataset: Dataset, tmp_path: Path):
    curve = finish(dataset, TINY, tmp_path).saved[-1][1]["curve"]
    assert [row["epoch"] for row in curve] == [0, 1, 2]
    for row in curve:
        assert {"lr", "stage", "train_loss", "val_loss", "train_score", "val_score", "seconds"} <= row.keys()
        assert all(math.isfinite(value) for value in row.values())


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSProp"])
def test_optimizer_and_learning_rate_are_those_asked_for(name: str, dataset: Dataset, tmp_path: Path):
    job = training(dataset, TINY.model_copy(update={"optimizer": name, "lr": 0.00123, "epochs": 1}), tmp_path)
    job.train()
    assert type(job.optimizer).__name__.lower() == name.lower()
    assert {group["initial_lr"] for group in job.optimizer.param_groups} == {0.00123}


def test_gradients_are_accumulated_over_k_batches_and_never_across_an_epoch(dataset: Dataset, tmp_path: Path):
    # 8 training films in batches of 2: 4 batches an epoch, so with k = 3 a step after the third and after the last.
    detector = TINY.model_copy(update={"batch": 2, "accumulate": 3, "epochs": 2})
    memory = finish(dataset, detector, tmp_path)
    assert [state["updates"] for _, state in memory.saved] == [2, 4]


def steps_after(dataset: Dataset, detector: Detector, folder: Path) -> list[int]:
    """Numbers of the batches, over the whole training, that ended in a step of the optimiser."""
    job, seen = training(dataset, detector, folder), []
    original = DetectorTraining.__mro__[1]  # ultralytics' trainer, which makes the step
    whole = original.optimizer_step  # type: ignore[attr-defined]

    def step(trainer: DetectorTraining) -> None:
        seen.append(trainer.epoch * len(trainer.train_loader) + trainer.batch_index)
        whole(trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(original, "optimizer_step", step)
        job.train()
    return seen


def test_a_nominal_batch_is_reached_during_the_warm_up_as_in_yolov5(dataset: Dataset, tmp_path: Path):
    # 8 training films in batches of 1: 8 batches an epoch. The number rises from 1 to 4 over the first 9 batches.
    detector = TINY.model_copy(update={"batch": 1, "nominal_batch": 4, "warmup": 1.0, "warmup_batches": 9, "epochs": 3})
    rising = {number: round(float(np.interp(number - 1, [0, 9], [1, 4]))) for number in range(1, 10)}
    assert list(rising.values()) == [1, 1, 2, 2, 2, 3, 3, 3, 4]
    assert steps_after(dataset, detector, tmp_path) == [1, 2, 4, 7, 8, 12, 16, 20, 24]


def test_a_nominal_batch_scales_weight_decay_by_the_films_a_step_has(dataset: Dataset, tmp_path: Path):
    def decay(**changes: object) -> float:
        job = training(dataset, TINY.model_copy(update={"weight_decay": 0.1, **changes}), tmp_path)
        job._setup_train()
        return max(group["weight_decay"] for group in job.optimizer.param_groups)

    assert decay(batch=3) == 0.1
    assert decay(batch=3, nominal_batch=9) == pytest.approx(0.1)
    assert decay(batch=3, nominal_batch=10) == pytest.approx(0.1 * 9 / 10)  # three batches are 9 films
    assert decay(batch=8, nominal_batch=4) == pytest.approx(0.2)  # as YOLOv5 does: one batch is twice the nominal one


def test_the_warm_up_lasts_its_least_number_of_batches_and_says_so_if_the_training_is_shorter(
    dataset: Dataset, tmp_path: Path
):
    def warmup(**changes: object) -> int:
        return training(dataset, TINY.model_copy(update=changes), tmp_path)._get_warmup_iterations(100)

    assert warmup(warmup=1.0) == 100
    assert warmup(warmup=1.0, warmup_batches=1000) == 1000
    assert warmup(warmup=2.0, warmup_batches=150) == 200
    said: list[str] = []
    job = training(dataset, TINY.model_copy(update={"epochs": 1, "warmup_batches": 1000}), tmp_path)
    job.progress.say = said.append  # type: ignore[method-assign]
    job.train()
    assert said == ["warm-up takes 1000 batches, and the whole training has 2"]


def test_training_ends_after_patience_epochs_without_a_better_score(dataset: Dataset, tmp_path: Path):
    base = training(dataset, TINY.model_copy(update={"epochs": 6, "patience": 2}), tmp_path)
    memory = Memory()
    Falling(base.detector, base.setup, memory, base.progress, base.wish).train()
    assert [state["finished"] for _, state in memory.saved] == [False, False, True]
    assert same(under("best/", memory.saved[-1][0]), under("ema/", memory.saved[0][0]))


def test_a_loss_that_is_no_number_is_bad_input_that_names_the_learning_rate(dataset: Dataset, tmp_path: Path):
    base = training(dataset, TINY, tmp_path)
    with torch.no_grad():
        next(base.setup.net.parameters()).fill_(float("nan"))
    with pytest.raises(BadInput, match=r"validation loss became nan, up to epoch 0.*lower lr \(0\.01\)"):
        base.train()


def spoil(monkeypatch: pytest.MonkeyPatch, batches: range) -> None:
    """Make the loss of some batches of the training infinite."""
    whole, number = DetectionLoss.__call__, iter(range(1000))

    def spoilt(self: DetectionLoss, raw: Any, batch: dict[str, Any]) -> Any:
        loss, items = whole(self, raw, batch)
        return (loss * float("inf") if next(number) in batches else loss), items

    monkeypatch.setattr(DetectionLoss, "__call__", spoilt)


def test_one_loss_that_is_no_number_updates_nothing_and_training_goes_on(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    memory = Memory()
    watcher = Watcher()
    job = training(dataset, TINY, tmp_path, memory)
    job.progress = watcher
    spoil(monkeypatch, range(1, 2))
    job.train()
    tensors, state = memory.saved[-1]
    assert state["finished"]
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert math.inf in watcher.losses


def test_losses_that_stay_no_numbers_are_the_end(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    job = training(dataset, TINY, tmp_path)
    spoil(monkeypatch, range(1000))
    with pytest.raises(Diverged, match="5 batches in a row"):
        job.train()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains_to_finite_weights_in_float32(precision: str, dataset: Dataset, tmp_path: Path):
    tensors, _ = finish(dataset, TINY.model_copy(update={"precision": precision, "epochs": 1}), tmp_path).saved[-1]
    floating = [tensor for tensor in tensors.values() if tensor.is_floating_point()]
    assert all(tensor.dtype is torch.float32 and tensor.isfinite().all() for tensor in floating)


def test_a_training_score_may_be_taken_every_other_epoch(dataset: Dataset, tmp_path: Path):
    memory = finish(dataset, TINY.model_copy(update={"train_score_every": 2}), tmp_path)
    assert [row["train_score"] is None for row in memory.saved[-1][1]["curve"]] == [True, False, True]


def test_the_best_weights_travel_with_every_checkpoint(dataset: Dataset, tmp_path: Path):
    memory = finish(dataset, TINY, tmp_path)
    scores = [row["val_score"] for row in memory.saved[-1][1]["curve"]]
    best = memory.saved[scores.index(max(scores))][0]
    assert same(under("best/", memory.saved[-1][0]), under("ema/", best))


def test_a_gpu_too_small_is_bad_input_and_the_batch_is_never_halved(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    job = training(dataset, TINY, tmp_path)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**30, 24 * 2**30))

    def full(images: torch.Tensor) -> Tensors:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")

    job.setup.net.forward = full
    with pytest.raises(BadInput, match=r"24 GiB.*do not hold a batch of 4 films at 64 px.*raise accumulate"):
        job.train()
    assert job.batch_size == TINY.batch


def test_a_worker_that_dies_of_the_stop_signal_first_is_a_stop(dataset: Dataset, tmp_path: Path):
    job = training(dataset, TINY, tmp_path)

    def dead(images: torch.Tensor) -> Tensors:
        job.wish.request()
        raise RuntimeError("DataLoader worker (pid 17) is killed by signal: Terminated.")

    job.setup.net.forward = dead
    with pytest.raises(Stopped):
        job.train()


def test_the_seed_changes_what_is_trained(dataset: Dataset, tmp_path: Path):
    one = finish(dataset, TINY, tmp_path)
    base = training(dataset, TINY, tmp_path)
    other = Memory()
    DetectorTraining(base.detector, replace(base.setup, seed=4), other, base.progress, base.wish).train()
    assert not same(one.saved[-1][0], other.saved[-1][0])


def test_no_file_but_ultralytics_own_list_of_settings_is_written(dataset: Dataset, tmp_path: Path):
    finish(dataset, TINY, tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["args.yaml"]


class Waits(TorchDispatchMode):
    """Collects the operations that make the host wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal", "is_nonzero"):
            self.operations.append(name)
        return func(*args, **(kwargs or {}))


def test_in_a_step_the_host_waits_for_anchors_for_the_scaler_and_for_the_loss_of_the_step_before(
    dataset: Dataset, tmp_path: Path
):
    job = training(dataset, TINY, tmp_path)
    job._setup_train()
    job.epoch = 0
    job._epoch_starts()
    job._model_train()
    first, second = job.train_loader
    job._step(0, first)
    second[MOST_BOXES], most = 0, most_boxes(second)
    with Waits() as waits, pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobs.nets.yolo.trainer.most_boxes", lambda batch: most)
        # Strides are on the host, where reading them is no wait; here they would count as one.
        patch.setattr(job.criterion, "stride", job.criterion.stride.tolist())
        job._step(1, second)
    assert waits.operations == ["nonzero", "nonzero", "_local_scalar_dense", "_local_scalar_dense"]


def test_the_loss_equals_ultralytics_own(dataset: Dataset, tmp_path: Path):
    job = training(dataset, TINY, tmp_path)
    job._setup_train()
    job.epoch = 0
    job._epoch_starts()
    for batch in job.train_loader:
        batch[MOST_BOXES] = most_boxes(batch)
        batch = job.preprocess_batch(batch)
        raw = job.model(batch["img"])
        own, its = job.criterion(raw, batch)[0], job.model.init_criterion()(raw, batch)[0]
        assert torch.equal(own, its)
    nothing = {**batch, "batch_idx": batch["batch_idx"][:0], "cls": batch["cls"][:0], "bboxes": batch["bboxes"][:0]}
    nothing[MOST_BOXES] = 0
    assert torch.equal(job.criterion(raw, nothing)[0], job.model.init_criterion()(raw, nothing)[0])


def test_a_training_that_another_writer_finished_is_taken_as_it_is(dataset: Dataset, tmp_path: Path):
    memory = finish(dataset, TINY, tmp_path)
    second = training(dataset, TINY, tmp_path, memory)
    second.train()
    assert second.result is not None
    assert same(second.result[0], memory.saved[-1][0])
    assert second.result[1] == memory.saved[-1][1]


def test_the_result_in_memory_is_that_of_the_last_checkpoint(dataset: Dataset, tmp_path: Path):
    memory = Memory()
    job = training(dataset, TINY, tmp_path, memory)
    job.train()
    assert job.result is not None
    assert same(job.result[0], memory.saved[-1][0])
    assert job.result[1] == memory.saved[-1][1]
