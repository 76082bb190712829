"""What both works of the stage stand on: the model, its fold, the films."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Classifier
from jobs.films.dataset import Dataset
from jobs.films.loader import Films
from jobs.films.prepared import fetch_dataset
from jobs.nets.backbone import needs_its_size
from jobs.nets.classifier import ClassifierNet, create_classifier
from jobs.nets.pretrained import Pretrained, pretrained
from jobs.runtime.context import Context
from jobs.train_classifier.training import random_stream


@dataclass(frozen=True)
class Task:
    """One classifier and one fold of it."""

    context: Context
    model: Classifier
    fold: int

    @classmethod
    def of(cls, context: Context) -> "Task":
        """The task of a context; PyTorch is told how many threads it may use.

        Raises:
            BadInput: the backbone cannot predict at the size asked for.
        """
        torch.set_num_threads(context.threads)
        # The fastest convolution of each shape is looked for once; all shapes stay the same through a training.
        torch.backends.cudnn.benchmark = True
        model = context.experiment.classifiers[context.model]
        if model.inference_size != model.size and needs_its_size(model.backbone):
            raise BadInput(
                f"{model.backbone} predicts only at the {model.size} px it is trained at: take inference.size away "
                f"from {context.model}, or train at {model.inference_size} px."
            )
        return cls(context, model, context.fold)

    @cached_property
    def dataset(self) -> Dataset:
        """The films at the sizes the model trains and predicts at."""
        return fetch_dataset(self.context, {self.model.size, self.model.inference_size})

    @cached_property
    def seed(self) -> int:
        """The seed of this fold's training."""
        return random_stream(self.context.experiment.seed, self.fold)

    @cached_property
    def pretrained(self) -> Pretrained | None:
        """The weights the backbone starts from."""
        name = self.model.weights
        return pretrained(self.context.store, name, self.context.cache) if name else None

    def training_films(self) -> Films:
        """The other folds' films at the training size, siblings treated as the experiment says.

        Raises:
            BadInput: there is none.
        """
        siblings = self.context.experiment.data.siblings
        chosen = (self._folds != self.fold) & (self._folds >= 0)
        return self._some(Films.of(self.dataset.index, chosen, self.model.size, siblings), "the other folds have")

    def fold_films(self, size: int) -> Films:
        """The fold's films, all of them, at a size.

        Raises:
            BadInput: there is none.
        """
        return self._some(Films.of(self.dataset.index, self._folds == self.fold, size), f"fold {self.fold} has")

    def untrained(self) -> ClassifierNet:
        """The net before its first step."""
        return create_classifier(self.model, self.seed, self.pretrained)

    @property
    def _folds(self) -> NDArray[np.int64]:
        return self.dataset.index["fold"].to_numpy(np.int64)

    def _some(self, films: Films, where: str) -> Films:
        if not len(films):
            raise BadInput(f"{where} no films in dataset {self.dataset.hash[:12]}: prepare it with more patients.")
        return films
