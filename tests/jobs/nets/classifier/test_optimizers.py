import pytest
import torch
from torch import nn

from jobs.contract.experiment import Classifier, LearningStage
from jobs.nets.classifier.madgrad import ForeachMADGRAD
from jobs.nets.classifier.optimizers import (
    create_optimizer,
    learning_rate,
    set_learning_rate,
)
from jobs.nets.optimizer_state import optimizer_tensors, restore_optimizer


def rates(model: Classifier, epochs: int = 4, epoch_steps: int = 5) -> list[float]:
    stage = LearningStage(lr=0.1, epochs=epochs)
    return [learning_rate(model, stage, step, epoch_steps) for step in range(epochs * epoch_steps)]


def test_a_constant_rate_is_constant():
    assert set(rates(Classifier(schedule="constant"))) == {0.1}


def test_the_cosine_falls_from_the_rate_to_nearly_nothing():
    given = rates(Classifier(schedule="cosine"))
    assert given[0] == 0.1
    assert given == sorted(given, reverse=True)
    assert given[10] == pytest.approx(0.05)
    assert 0 < given[-1] < 0.002


def test_warm_up_rises_for_as_many_epochs_as_it_is_given():
    given = rates(Classifier(schedule="constant", warmup=2))
    assert given[:10] == sorted(given[:10])
    assert 0 < given[0] < given[9] < 0.1
    assert set(given[10:]) == {0.1}


def step(net: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
    torch.manual_seed(number)
    set_learning_rate(optimizer, 1e-2)
    net(torch.randn(2, 3, 8, 8)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).to(memory_format=torch.channels_last)


def strides(optimizer: torch.optim.Optimizer) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Strides of each parameter, and of each piece of its state that has its shape."""
    return [
        (parameter.stride(), value.stride())
        for group in optimizer.param_groups
        for parameter in group["params"]
        for value in optimizer.state[parameter].values()
        if value.shape == parameter.shape
    ]


OPTIMIZERS = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, momentum=0.9, nesterov=True),
    "fused SGD": lambda parameters: torch.optim.SGD(parameters, momentum=0.9, fused=True),
    "fused AdamW": lambda parameters: torch.optim.AdamW(parameters, fused=True),
    "NAdam": torch.optim.NAdam,
    "RAdam": torch.optim.RAdam,
    "RMSprop": lambda parameters: torch.optim.RMSprop(parameters, momentum=0.9),
}


@pytest.mark.parametrize("separator", [".", "/"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_restored_state_has_its_parameters_strides_and_continues_with_the_same_bits(name: str, separator: str):
    alone, resumed = small_net(), small_net()
    optimizer, other = OPTIMIZERS[name](alone.parameters()), OPTIMIZERS[name](resumed.parameters())
    for number in range(3):
        step(alone, optimizer, number)
    saved = {k.replace(".", separator): v.clone().contiguous() for k, v in optimizer_tensors(optimizer).items()}
    resumed.load_state_dict(alone.state_dict())
    restore_optimizer(other, saved)
    assert strides(other)
    assert all(parameter == state for parameter, state in strides(other))
    for number in range(3, 6):
        step(alone, optimizer, number)
        step(resumed, other, number)
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), resumed.parameters(), strict=True))


@pytest.mark.parametrize("name", ["adam", "madgrad"])
def test_an_optimiser_goes_on_from_plain_tensors_to_the_same_bits(name: str):
    model = Classifier(optimizer=name, weight_decay=1e-3)  # type: ignore[arg-type]
    alone = small_net()
    optimizer = create_optimizer(model, alone.parameters())
    for number in range(3):
        step(alone, optimizer, number)
    kept = {key: value.clone().contiguous() for key, value in optimizer_tensors(optimizer).items()}
    resumed = small_net()
    resumed.load_state_dict({key: value.clone().contiguous() for key, value in alone.state_dict().items()})
    other = create_optimizer(model, resumed.parameters())
    restore_optimizer(other, kept)
    for number in range(3, 6):
        step(alone, optimizer, number)
        step(resumed, other, number)
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), resumed.parameters(), strict=True))


def test_madgrad_is_ours_and_adam_is_torchs():
    parameters = list(small_net().parameters())
    assert isinstance(create_optimizer(Classifier(optimizer="madgrad"), parameters), ForeachMADGRAD)
    assert isinstance(create_optimizer(Classifier(optimizer="adam"), parameters), torch.optim.Adam)
