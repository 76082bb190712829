"""A classifier and its held-out fold: the films on either side of the split, and the net before training."""

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Classifier
from jobs.films.dataset import Dataset
from jobs.films.extra import JoinedFilms
from jobs.films.loader import Films
from jobs.films.prepared import fetch_other_dataset
from jobs.nets.classifier.backbone import needs_its_size
from jobs.nets.classifier.net import ClassifierNet, create_classifier
from jobs.nets.device.compilation import keep_compiled
from jobs.nets.device.determinism import set_determinism
from jobs.nets.training import Training
from jobs.nets.weights.pretrained import Pretrained
from jobs.runtime.context import Context
from jobs.train_classifier.position import random_stream


@dataclass(frozen=True)
class ClassifierFold:
    """A classifier and the fold that its training holds out."""

    context: Context
    training: Training
    model: Classifier
    fold: int

    @classmethod
    def of(cls, context: Context, training: Training) -> "ClassifierFold":
        """Return the fold of a training; also sets PyTorch's number of threads, its determinism and its cache.

        Raises:
            BadInput: the backbone cannot predict at ``inference.size``, or there is no GPU.
        """
        torch.set_num_threads(context.threads)
        model = cast(Classifier, training.model)
        set_determinism(model.deterministic, context.device())
        keep_compiled(context.cache)
        if model.inference_size != model.size and needs_its_size(model.backbone):
            raise BadInput(
                f"{model.backbone} predicts only at its training size, {model.size} px: remove inference.size "
                f"from {context.model}, or train at {model.inference_size} px."
            )
        return cls(context, training, model, training.fold)

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset, at the sizes the model trains and predicts at."""
        return fetch_other_dataset(self.context, self.training.index, {self.model.size, self.model.inference_size})

    @cached_property
    def seed(self) -> int:
        """The seed of this fold's training."""
        return random_stream(self.training.seed, self.fold)

    @cached_property
    def pretrained(self) -> Pretrained | None:
        """The weights that training starts from; None for random ones."""
        return self.training.first_weights(self.context)

    @cached_property
    def joined(self) -> JoinedFilms:
        """The dataset with the films beside the folds, at the training size."""
        return self.training.joined(self.context, self.model.size)

    def training_films(self) -> Films:
        """Return the other folds' films and those beside them at the training size, with ``data.siblings`` applied.

        Raises:
            BadInput: there are none.
        """
        chosen = self.joined.training(self.fold, self.training.without)
        films = Films.of(self.joined.index, chosen, self.model.size, self.training.siblings)
        return self._not_empty(films, "the other folds have")

    def sample(self, studies: int) -> Films:
        """Return the films of at most so many studies of the other folds, whose labels are their own."""
        index, training = self.dataset.index, self.training
        chosen = JoinedFilms(self.dataset, ()).training(self.fold, training.without)
        return Films.of(index, chosen, self.model.size, training.siblings).of_studies(studies, self.seed)

    def held_out_films(self, size: int) -> Films:
        """Return all films of the held-out fold, at a size.

        Raises:
            BadInput: there are none.
        """
        return self._not_empty(Films.of(self.dataset.index, self._folds == self.fold, size), f"fold {self.fold} has")

    def untrained(self) -> ClassifierNet:
        """Create the net as it is before its first step."""
        return create_classifier(self.model, self.seed, self.pretrained)

    @property
    def _folds(self) -> NDArray[np.int64]:
        return self.dataset.index["fold"].to_numpy(np.int64)

    def _not_empty(self, films: Films, where: str) -> Films:
        if not len(films):
            raise BadInput(f"{where} no films in dataset {self.dataset.hash[:12]}: use more patients or fewer folds.")
        return films
