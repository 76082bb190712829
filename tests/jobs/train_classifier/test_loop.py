"""A training in memory: it learns, goes on where it was, and does what its stages say."""

import random
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from jobs.contract.exits import BadInput, Stopped
from jobs.contract.experiment import Aux, LearningStage
from jobs.films.dataset import Dataset
from jobs.nets.classifier.net import create_classifier
from jobs.train_classifier.loop import ClassifierTraining
from tests.jobs.nets.classifier.films import TINY, training_inputs
from tests.jobs.nets.classifier.lab import train


def keep(training: ClassifierTraining) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What a checkpoint holds: copies in the default layout, as they come back from a file."""
    return {name: value.detach().clone().contiguous() for name, value in training.tensors().items()}, training.state()


def summed_loss(training: ClassifierTraining) -> float:
    """Of the epoch's steps, the latest among them."""
    loss: float = training.state()["place"]["loss"]
    return loss


def assert_same(one: ClassifierTraining, other: ClassifierTraining) -> None:
    tensors, others = one.tensors(), other.tensors()
    assert tensors.keys() == others.keys()
    different = [name for name, value in tensors.items() if not torch.equal(value, others[name])]
    assert different == []
    assert [{**row, "seconds": 0} for row in one.position.curve] == [
        {**row, "seconds": 0} for row in other.position.curve
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "test_resnet", "optimizer": "adam", "dropout": 0.5, "drop_path": 0.3},
        pytest.param(
            {"optimizer": "madgrad", "ema": 0.9, "weight_decay": 1e-3, "augment": "hard", "accumulate": 2, "clip": 1.0},
            marks=pytest.mark.slow,
        ),
        pytest.param({
            "augment": "strong", "ema": 0.99, "ema_warmup": 1.0, "mixup": 0.4, "cutmix": 1.0, "mix_chance": 0.7,
            "class_weights": "balanced", "focal": 2.0, "loss": "sigmoid", "accumulate": 2, "batch": 2,
        }, marks=pytest.mark.slow),
    ],
    ids=["adam", "madgrad", "winners"],
)  # fmt: skip
def test_going_on_from_any_step_gives_the_same_bits(dataset: Dataset, changes: dict[str, Any]):
    stages = (LearningStage(lr=3e-3, epochs=2), LearningStage(lr=1e-3, epochs=1))
    model = TINY.model_copy(update={**changes, "stages": stages, "warmup": 0.5})
    alone = train(dataset, model)
    until = random.randrange(1, alone.steps)
    print(f"interrupted after step {until} of {alone.steps}")
    resumed = train(dataset, model, kept=keep(train(dataset, model, until)))
    assert alone.finished
    assert_same(alone, resumed)


@pytest.mark.slow
def test_workers_that_read_ahead_change_no_bit(dataset: Dataset):
    model = TINY.model_copy(update={"augment": "hard", "stages": (LearningStage(lr=3e-3, epochs=1),)})
    ahead = ClassifierTraining(training_inputs(dataset, model), "cpu", 2)
    ahead.run(lambda loss, films: None, lambda figures: None)
    assert_same(train(dataset, model), ahead)


def test_it_learns_the_films_it_is_shown(dataset: Dataset):
    stages = (LearningStage(lr=5e-3, epochs=4),)
    training = train(dataset, TINY.model_copy(update={"stages": stages, "aux": None, "augment": "none"}))
    first, last = training.position.curve[0], training.position.curve[-1]
    assert last["train_loss"] < first["train_loss"] / 2
    assert last["val_score"] > 0.8
    assert training.position.best == max(row["val_score"] for row in training.position.curve)


@pytest.mark.slow
def test_the_second_stage_starts_from_the_best_of_the_first_with_a_fresh_optimiser(dataset: Dataset):
    stages = (LearningStage(lr=3e-2, epochs=4), LearningStage(lr=1e-4, epochs=1))
    changes = {"stages": stages, "schedule": "constant", "optimizer": "madgrad", "aux": None}
    training = ClassifierTraining(training_inputs(dataset, TINY.model_copy(update=changes)), "cpu", 0)
    ends: list[dict[str, torch.Tensor]] = []

    def after_step(loss: float | None, films: int) -> None:
        if training.position.step == training.epoch_steps:
            ends.append({name: value.clone() for name, value in training.net.state_dict().items()})

    def after_epoch(figures: dict[str, Any]) -> None:
        if (training.position.stage, training.position.epoch) == (1, 0):
            scores = [row["val_score"] for row in training.position.curve]
            best = scores.index(max(scores))
            assert best < len(scores) - 1  # this rate is too high to end with the best
            assert all(torch.equal(value, ends[best][name]) for name, value in training.net.state_dict().items())
            assert not training.optimizer.state_dict()["state"]

    training.run(after_step, after_epoch)
    assert [row["stage"] for row in training.position.curve] == [0, 0, 0, 0, 1]
    assert training.position.curve[-1]["lr"] == 1e-4


def test_accumulating_equals_the_large_batch_without_batch_norm(dataset: Dataset, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.optim.Adam, "zero_grad", lambda self: None)  # so that the step's gradients can be seen
    model = TINY.model_copy(update={"backbone": "test_efficientnet_gn", "aux": Aux(layers=1), "augment": "basic"})
    large = train(dataset, model.model_copy(update={"batch": 8}), until=1)
    parts = train(dataset, model.model_copy(update={"batch": 2, "accumulate": 4}), until=1)
    assert summed_loss(large) == pytest.approx(summed_loss(parts), rel=1e-6)
    for mine, its in zip(large.net.parameters(), parts.net.parameters(), strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(its.grad, mine.grad, rtol=1e-4, atol=1e-6)


def test_batch_norm_is_what_accumulating_cannot_make_equal(dataset: Dataset):
    model = TINY.model_copy(update={"aux": None})
    large = train(dataset, model.model_copy(update={"batch": 8}), until=1)
    parts = train(dataset, model.model_copy(update={"batch": 2, "accumulate": 4}), until=1)
    assert summed_loss(large) != pytest.approx(summed_loss(parts), rel=1e-3)


@pytest.mark.slow
def test_patience_ends_a_stage_and_not_the_training(dataset: Dataset):
    stages = (LearningStage(lr=1e-12, epochs=5), LearningStage(lr=1e-12, epochs=5))
    training = train(dataset, TINY.model_copy(update={"stages": stages, "patience": 1}))
    assert training.finished
    assert [row["stage"] for row in training.position.curve].count(1) >= 1
    assert len(training.position.curve) < 10


@pytest.mark.slow
def test_averaged_weights_are_the_ones_that_are_scored(dataset: Dataset):
    training = train(dataset, TINY.model_copy(update={"ema": 0.9}))
    assert training.scored is not training.net
    assert any(
        not torch.equal(mine, its)
        for mine, its in zip(training.scored.parameters(), training.net.parameters(), strict=True)
    )


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains_in_float32_weights(dataset: Dataset, precision: str):
    training = train(dataset, TINY.model_copy(update={"precision": precision, "clip": 1.0}), until=2)
    assert {tensor.dtype for tensor in training.net.parameters()} == {torch.float32}
    assert training.scaler.is_enabled() == (precision == "fp16")


def test_a_loss_that_is_no_number_is_explained(dataset: Dataset):
    runaway = TINY.model_copy(update={"stages": (LearningStage(lr=1e30, epochs=3),), "schedule": "constant"})
    with pytest.raises(BadInput, match=r"learning rate 1e\+30 .* lower stages\[0\].lr"):
        train(dataset, runaway)


class Waits(TorchDispatchMode):
    """Collects the operations that make the host wait for the device, but for those on a counter of the host."""

    def __init__(self, counters: list[torch.Tensor]) -> None:
        super().__init__()
        self.counters, self.operations = counters, list[str]()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in WAITING and not any(args[0] is counter for counter in self.counters):
            self.operations.append(name)
        return func(*args, **(kwargs or {}))


WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "equal", "is_nonzero"}


@pytest.mark.parametrize("optimizer", ["adam", "madgrad"])
def test_in_a_step_the_host_waits_for_the_loss_of_the_step_before_and_for_nothing_else(
    dataset: Dataset, optimizer: str
):
    changes = {"optimizer": optimizer, "ema": 0.9, "clip": 1.0, "accumulate": 2, "batch": 2}
    training = train(dataset, TINY.model_copy(update=changes), until=2)
    inputs = training.inputs
    parts = [inputs.training.batch(range(2), inputs.pack, training.masks) for _ in range(2)]
    state: dict[Any, Any] = training.optimizer.state
    with Waits([value for value in state.values() if isinstance(value, torch.Tensor)]) as waits:
        training._step(training.model.stages[0], parts)
    assert waits.operations == ["_local_scalar_dense"]


@pytest.mark.slow
def test_the_loss_of_every_step_counts_however_late_it_is_read(dataset: Dataset):
    losses: list[float | None] = []
    training = ClassifierTraining(training_inputs(dataset, TINY), "cpu", 0)
    training.run(lambda loss, films: losses.append(loss), lambda metrics: None)
    assert losses[0] is None
    read = [loss for loss in losses[1 : training.epoch_steps + 1] if loss is not None]
    assert sum(read) == pytest.approx(training.position.curve[0]["train_loss"] * training.epoch_steps)


@pytest.mark.slow
def test_a_training_score_may_be_taken_every_other_epoch(dataset: Dataset):
    stages = (LearningStage(lr=3e-3, epochs=4),)
    training = train(dataset, TINY.model_copy(update={"stages": stages, "train_score_every": 2}))
    assert [row["train_score"] is None for row in training.position.curve] == [True, False, True, False]


@pytest.mark.slow
def test_scores_do_not_depend_on_how_many_films_are_scored_at_once(dataset: Dataset):
    one, other = (train(dataset, TINY.model_copy(update={"eval_batch": size})) for size in (1, 64))
    for mine, its in zip(one.position.curve, other.position.curve, strict=True):
        assert mine["val_loss"] == pytest.approx(its["val_loss"], rel=1e-5)
        assert mine["val_score"] == pytest.approx(its["val_score"])


@pytest.mark.slow
def test_time_is_measured_by_what_it_is_spent_on(dataset: Dataset):
    assert train(dataset).spent.seconds.keys() == {"waiting", "training", "evaluating"}


@pytest.mark.slow
def test_a_training_stopped_while_it_is_evaluated_gives_the_same_bits(dataset: Dataset):
    stopped = ClassifierTraining(training_inputs(dataset), "cpu", 0)

    def stop() -> None:
        raise Stopped("stopped")

    with pytest.raises(Stopped):
        stopped.run(lambda loss, films: None, lambda metrics: None, stop)
    assert stopped.position.step == stopped.epoch_steps
    assert_same(train(dataset, kept=keep(stopped)), train(dataset))


def test_films_are_scored_as_they_are_however_training_mixes_them(dataset: Dataset):
    mixing = ClassifierTraining(training_inputs(dataset, TINY.model_copy(update={"mixup": 0.4})), "cpu", 0)
    plain = ClassifierTraining(training_inputs(dataset), "cpu", 0)
    results = [one._evaluate(one.inputs.validation, lambda: None) for one in (mixing, plain)]
    assert results[0] == results[1]


@pytest.mark.slow
def test_the_average_of_a_short_training_scores_like_its_net_only_where_its_decay_warms_up(dataset: Dataset):
    model = TINY.model_copy(update={"ema": 0.999, "aux": None, "augment": "none"})
    start = create_classifier(model, 3, None).head.weight.detach()

    def moved(training: ClassifierTraining) -> float:
        """How far the average has come on the way of the net's weights."""
        way, come = (net.head.weight.detach() - start for net in (training.net, training.scored))
        return float((way * come).sum() / way.square().sum())

    cold, warm = train(dataset, model), train(dataset, model.model_copy(update={"ema_warmup": 1.0}))
    assert moved(cold) < 0.05
    assert moved(warm) > 0.5


@pytest.mark.slow
def test_a_training_by_captured_graphs_has_the_same_bits_and_needs_no_compiler(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CC", "/nonexistent")
    monkeypatch.setenv("CXX", "/nonexistent")
    changes = {"dropout": 0.5, "ema": 0.9}
    plain, captured = (
        train(dataset, TINY.model_copy(update={**changes, "compile": mode})) for mode in ("none", "cudagraphs")
    )
    assert_same(plain, captured)
