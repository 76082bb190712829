"""Heat maps: a trained net's lies on the opacities."""

import numpy as np
import pytest
import torch

from jobs.contract.experiment import LearningStage
from jobs.films.letterbox import Letterbox
from jobs.nets.classifier.heat_map import heat_map, on_film
from jobs.nets.classifier.net import create_classifier
from jobs.train_classifier.loop import ClassifierTraining
from tests.jobs.nets.classifier.films import TINY, training_inputs, write_films

MODEL = TINY.model_copy(update={"stages": (LearningStage(lr=3e-3, epochs=8),)})


def share_inside(net, model, dataset):
    """The share of the maps' mass that lies within the true boxes of the held-out films."""
    shares = []
    for row, (boxes, fold) in enumerate(zip(dataset.index["boxes"], dataset.index["fold"], strict=True)):
        if fold or not boxes:
            continue
        heat = on_film(heat_map(net, model, dataset.pack(64)[row], "cpu"), 100, 90)
        left, top, right, bottom = np.rint(np.array(boxes[0]) * heat.shape[1] / 100).astype(int)
        shares.append(heat[top:bottom, left:right].sum() / heat.sum())
    return float(np.mean(shares))


def shuffled(net):
    """The net with the values of each of its tensors in a random order."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in net.parameters():
            weights.copy_(weights.flatten()[torch.randperm(weights.numel(), generator=generator)].view_as(weights))
    return net


@pytest.mark.slow
@pytest.mark.parametrize("aux", [TINY.aux, None])
def test_more_of_the_mass_lies_inside_true_opacities_than_that_of_a_shuffled_net(aux, tmp_path):
    model, dataset = MODEL.model_copy(update={"aux": aux}), write_films(tmp_path)
    training = ClassifierTraining(training_inputs(dataset, model), "cpu", 0)
    training.run(lambda loss, films: None, lambda figures: None)
    net = training.scored.eval()
    inside = share_inside(net, model, dataset)
    assert inside > 1.2 * share_inside(shuffled(net), model, dataset)


def test_a_gradient_map_has_a_maximum_of_one_and_lies_on_the_film():
    model = TINY.model_copy(update={"aux": None})
    square = Letterbox(100, 50, 64).apply(np.full((50, 100), 200, np.uint8))
    heat = heat_map(create_classifier(model, 1, None).eval(), model, square, "cpu")
    assert heat.max() == pytest.approx(1)
    assert on_film(heat, 100, 50).shape == (32, 64)
