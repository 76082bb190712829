import copy

import pytest
import torch
from madgrad import MADGRAD
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from jobs.nets.classifier.madgrad import ForeachMADGRAD


def net() -> nn.Module:
    torch.manual_seed(0)
    parts = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(64, 5)]
    return nn.Sequential(*parts).to(memory_format=torch.channels_last)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for number in steps:
        torch.manual_seed(number)
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 / (number + 1)
        model(torch.randn(4, 3, 8, 8)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("decay", [0.0, 1e-3])
def test_every_update_equals_the_packages_bit_for_bit(decay: float):
    one, other = net(), net()
    ours = ForeachMADGRAD(one.parameters(), weight_decay=decay)
    theirs = MADGRAD(other.parameters(), weight_decay=decay)
    for number in range(12):
        train(one, ours, range(number, number + 1))
        train(other, theirs, range(number, number + 1))
        assert same(one, other), f"step {number}"


@pytest.mark.parametrize(("first", "second"), [(MADGRAD, ForeachMADGRAD), (ForeachMADGRAD, MADGRAD)])
def test_a_training_goes_on_with_the_state_of_the_other(first: type, second: type):
    alone = net()
    train(alone, MADGRAD(alone.parameters()), range(6))
    model = net()
    optimizer = first(model.parameters())
    train(model, optimizer, range(3))
    other = second(model.parameters())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(model, other, range(3, 6))
    assert same(alone, model)


def test_a_rate_of_zero_moves_nothing():
    model = net()
    before = copy.deepcopy(model)
    optimizer = ForeachMADGRAD(model.parameters(), lr=0.0)
    model(torch.randn(4, 3, 8, 8)).sum().backward()
    optimizer.step()
    assert all(torch.allclose(a, b) for a, b in zip(before.parameters(), model.parameters(), strict=True))


def test_a_parameter_without_gradient_stays_as_it_is():
    model = net()
    frozen = model[0].requires_grad_(False).weight.clone()
    train(model, ForeachMADGRAD(model.parameters()), range(2))
    assert torch.equal(model[0].weight, frozen)


class Operations(TorchDispatchMode):
    """Counts the operations sent to the device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def operations(optimizer: torch.optim.Optimizer, model: nn.Module) -> int:
    """Operations of a second step."""
    train(model, optimizer, range(1))
    model(torch.randn(4, 3, 8, 8)).sum().backward()
    with Operations() as counted:
        optimizer.step()
    return counted.count


def test_the_operations_of_a_step_do_not_grow_with_the_number_of_tensors():
    small, large = nn.Sequential(net()), nn.Sequential(net())
    large.append(nn.Sequential(*[nn.Linear(5, 5) for _ in range(50)]))
    counts = [operations(ForeachMADGRAD(model.parameters()), model) for model in (small, large)]
    assert counts[0] == counts[1] < 20
    assert operations(MADGRAD(large.parameters()), large) > 400
