import math

import pytest
import torch
from torch import nn

from jobs.nets.classifier.averaging import WeightAverage, average_decay


def test_averaged_weights_move_by_the_decay_and_counters_are_copied():
    net, averaged = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    nn.init.constant_(net.weight, 3.0)
    net(torch.randn(4, 2))
    WeightAverage(averaged, net).update(0.75)
    assert averaged.weight.tolist() == [1.5, 1.5]
    assert averaged.num_batches_tracked.item() == 1
    torch.testing.assert_close(averaged.running_var, 0.75 + 0.25 * net.running_var)


def test_the_decay_of_an_average_rises_over_its_warm_up():
    assert average_decay(0.99, 1, 40) == pytest.approx(0.99 / 40, rel=0.02)
    assert average_decay(0.99, 40, 40) == pytest.approx(0.99 * 0.632, rel=1e-3)
    assert average_decay(0.99, 4000, 40) == pytest.approx(0.99)
    assert average_decay(0.99, 1, 0) == 0.99


def test_a_short_training_keeps_little_of_the_weights_before_its_first_step_where_the_decay_warms_up():
    kept = {warmup: math.prod(average_decay(0.997, number, warmup) for number in range(1, 101)) for warmup in (0, 100)}
    assert kept[0] == pytest.approx(0.997**100)  # 74 %
    assert kept[100] < 1e-20
