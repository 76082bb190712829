"""The headline is the widest figure that the models give."""

import pytest

from jobs.contract.experiment import Experiment
from jobs.scoring.figures import available_figures

YOLO = {"yolo": {}}


@pytest.mark.parametrize(
    ("classifiers", "detectors", "figures"),
    [
        ({"b3": {}}, YOLO, ("map6", "map4", "opacity")),
        ({"b3": {}}, {}, ("map4",)),
        ({}, YOLO, ("opacity",)),
        ({"two": {"head": "film2"}}, {}, ("film2",)),
        ({"joint": {"head": "joint6"}}, {}, ("map4", "film2")),
        ({"joint": {"head": "joint6", "loss_on": "film"}}, {}, ("film2",)),
        ({"b3": {}, "two": {"head": "film2"}}, YOLO, ("map6", "map4", "film2", "opacity")),
    ],
)
def test_the_widest_figure_comes_first(classifiers, detectors, figures):
    assert available_figures(Experiment(name="it", classifiers=classifiers, detectors=detectors)) == figures


def test_a_model_without_weight_gives_nothing():
    experiment = Experiment(name="it", classifiers={"b3": {}}, detectors=YOLO, ensemble={"weights": {"yolo": 0}})
    assert available_figures(experiment) == ("map4",)
