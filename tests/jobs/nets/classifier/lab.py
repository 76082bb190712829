"""Tiny trainings of a classifier, stopped where a test wants it."""

import contextlib
from typing import Any

from jobs.contract.experiment import Classifier
from jobs.films.dataset import Dataset
from jobs.train_classifier.loop import ClassifierTraining
from tests.jobs.nets.classifier.films import TINY, training_inputs


class Enough(Exception):
    """Ends a training in the middle."""


def train(
    dataset: Dataset, model: Classifier = TINY, until: int | None = None, kept: Any = None, device: str = "cpu",
    workers: int = 0,
) -> ClassifierTraining:  # fmt: skip
    """Train to the end, or up to a step; from what an earlier training kept, where given."""
    training = ClassifierTraining(training_inputs(dataset, model), device, workers)
    if kept:
        training.restore(*kept)

    def after_step(loss: float | None, films: int) -> None:
        if training.steps_done == until:
            raise Enough

    with contextlib.suppress(Enough):
        training.run(after_step, lambda figures: None)
    return training
