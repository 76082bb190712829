"""One training of a classifier: what it is after any step, and how it goes on from there.

All randomness is a function of place: the order of (seed, epoch), a picture of (seed, epoch, film), dropout of
(seed, epoch, step). So the place in the training is all that has to be kept of it, and a training that goes on from a
checkpoint cannot be told from one left alone.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Classifier, LearningStage
from jobs.films.augment import Augmentation
from jobs.films.dataset import Pack
from jobs.films.loader import Batch, Films, Masks, TrainingFilms, batches, epoch_batches, epoch_steps
from jobs.nets.classifier import Answer, ClassifierNet, class_probabilities
from jobs.nets.losses import training_loss
from jobs.nets.optimizer_state import optimizer_tensors, restore_optimizer
from jobs.nets.optimizers import (
    average_into,
    create_optimizer,
    learning_rate,
    set_learning_rate,
)
from jobs.nets.precision import autocast, gradient_scaler
from jobs.runtime.checkpoint import Tensors
from jobs.train_classifier.scores import score

Figures = dict[str, Any]


@dataclass(frozen=True)
class Material:
    """What one fold's training is made of.

    Attributes:
        model: what is trained, and how.
        seed: of this training.
        pack: all films at the training size.
        training: the other folds' films.
        validation: the fold's films.
        sample: of the training films those of about as many studies as the fold has: what the training score is of.
        untrained: makes the net as it is before its first step.
    """

    model: Classifier
    seed: int
    pack: Pack
    training: Films
    validation: Films
    sample: Films
    untrained: Callable[[], ClassifierNet]


@dataclass
class Place:
    """How far a training is.

    Attributes:
        stage: learning stages finished.
        epoch: epochs of this stage finished.
        step: steps of this epoch finished.
        stale: epochs of this stage since its score last rose above all before.
        loss: sum of the losses of this epoch's steps.
        seconds: spent on this epoch.
        best: the best score so far.
        curve: the figures of every epoch finished.
    """

    stage: int = 0
    epoch: int = 0
    step: int = 0
    stale: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    best: float = -math.inf
    curve: list[Figures] = field(default_factory=list)


class Training:
    """A training in memory. ``run`` takes it to its end; ``tensors`` and ``state`` are all that it is in between.

    Args:
        material: what it is made of.
        device: ``cuda`` or ``cpu``.
        workers: processes that read films ahead; 0 reads them in this one.
    """

    def __init__(self, material: Material, device: str, workers: int) -> None:
        self.material, self.model, self.device, self.workers = material, material.model, device, workers
        self.net = material.untrained().to(device)
        self.averaged = copy.deepcopy(self.net).requires_grad_(False) if self.model.ema else None
        self.optimizer = create_optimizer(self.model, self.net.parameters())
        self.scaler = gradient_scaler(self.model.precision, device)
        self.augmentation = Augmentation(self.model.augment, material.seed)
        self.best: Tensors = {}
        self.place = Place()

    @property
    def scored(self) -> ClassifierNet:
        """The net whose predictions count: the averaged one, where weights are averaged."""
        return self.averaged or self.net

    @property
    def epoch_steps(self) -> int:
        """Optimiser steps an epoch."""
        return epoch_steps(len(self.material.training), self.model.batch, self.model.accumulate)

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training, if patience does not end a stage."""
        return self.epoch_steps * sum(stage.epochs for stage in self.model.stages)

    @property
    def steps_done(self) -> int:
        """Optimiser steps finished."""
        return self.epoch_steps * len(self.place.curve) + self.place.step

    @property
    def finished(self) -> bool:
        """Whether all stages are done."""
        return self.place.stage == len(self.model.stages)

    def tensors(self) -> Tensors:
        """Everything a training is, but for its place."""
        parts = {
            "net": self.net.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged else {},
            "best": self.best,
            "optimizer": optimizer_tensors(self.optimizer),
        }
        return {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}

    def state(self) -> dict[str, Any]:
        """Its place, as JSON."""
        place = asdict(self.place)
        place["best"] = place["best"] if self.best else None
        return {"place": place, "scaler": self.scaler.state_dict()}

    def restore(self, tensors: Tensors, state: dict[str, Any]) -> None:
        """Become the training that :meth:`tensors` and :meth:`state` were taken from."""
        parts: dict[str, Tensors] = {"net": {}, "averaged": {}, "best": {}, "optimizer": {}}
        for path, tensor in tensors.items():
            part, name = path.split(".", 1)
            parts[part][name] = tensor
        self.net.load_state_dict(parts["net"])
        if self.averaged:
            self.averaged.load_state_dict(parts["averaged"])
        self.best = parts["best"]
        restore_optimizer(self.optimizer, parts["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        place = state["place"]
        self.place = Place(**{**place, "best": -math.inf if place["best"] is None else place["best"]})

    def run(self, after_step: Callable[[float, int], None], after_epoch: Callable[[Figures], None]) -> None:
        """Train to the end. Whenever a hook is called, the training can be kept and taken up again.

        Args:
            after_step: called with the step's loss and its number of films.
            after_epoch: called with the figures that the curve got.

        Raises:
            BadInput: the loss is not a number any more.
        """
        while not self.finished:
            stage = self.model.stages[self.place.stage]
            begun = time.monotonic()
            for loss, films in self._steps(stage):
                now = time.monotonic()
                self.place.seconds, begun = self.place.seconds + now - begun, now
                after_step(loss, films)
            figures = self._end_epoch(stage, begun)
            after_epoch(figures)

    def _steps(self, stage: LearningStage) -> Iterator[tuple[float, int]]:
        """The rest of an epoch, step by step: the loss and the number of films of each."""
        model, material, epoch = self.model, self.material, len(self.place.curve)
        films = TrainingFilms(material.training, material.pack, self.masks, self.augmentation, epoch)
        order = epoch_batches(len(material.training), model.batch, model.accumulate, material.seed, epoch)
        left = order[self.place.step * model.accumulate :]
        loaded = iter(batches(films, left, self.workers, pin=self.device == "cuda"))
        for start in range(0, len(left), model.accumulate):
            parts = len(left[start : start + model.accumulate])
            yield self._step(stage, [next(loaded) for _ in range(parts)])

    def _step(self, stage: LearningStage, parts: list[Batch]) -> tuple[float, int]:
        """One step of the optimiser, on the mean loss over the films of all parts."""
        place = self.place
        torch.manual_seed(random_stream(self.material.seed, len(place.curve), place.step))
        number = place.epoch * self.epoch_steps + place.step
        set_learning_rate(self.optimizer, learning_rate(self.model, stage, number, self.epoch_steps))
        films = sum(len(part.films) for part in parts)
        self.net.train()
        total = torch.zeros((), device=self.device)
        for part in parts:
            loss = self._answer(self.net, part)[1] * (len(part.films) / films)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        value = self._finite(float(total))
        if self.model.clip:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.model.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.averaged:
            average_into(self.averaged, self.net, self.model.ema)
        place.step, place.loss = place.step + 1, place.loss + value
        return value, films

    def _answer(self, net: ClassifierNet, batch: Batch) -> tuple[Answer, torch.Tensor]:
        """The net's answer to a batch and its loss."""
        batch = batch.to(self.device)
        with autocast(self.model.precision, self.device):
            answer = net(batch.films)
        return answer, training_loss(self.model, answer, batch.study, batch.film, batch.counted, batch.masks)

    def _end_epoch(self, stage: LearningStage, begun: float) -> Figures:
        """Score the epoch, keep the weights if they are the best, go on to the next epoch or stage."""
        place = self.place
        val_loss, val_score = self._evaluate(self.material.validation)
        _, train_score = self._evaluate(self.material.sample)
        figures: Figures = {
            "epoch": len(place.curve),
            "stage": place.stage,
            "lr": learning_rate(self.model, stage, place.epoch * self.epoch_steps, self.epoch_steps),
            "train_loss": place.loss / place.step,
            "val_loss": self._finite(val_loss),
            "train_score": train_score,
            "val_score": val_score,
            "seconds": place.seconds + time.monotonic() - begun,
        }
        place.curve.append(figures)
        place.stale += 1
        if val_score > place.best:
            place.best, place.stale = val_score, 0
            self.best = {name: tensor.detach().clone() for name, tensor in self.scored.state_dict().items()}
        place.epoch, place.step, place.loss, place.seconds = place.epoch + 1, 0, 0.0, 0.0
        if place.epoch == stage.epochs or place.stale == self.model.patience:
            self._end_stage()
        return figures

    def _end_stage(self) -> None:
        """The next stage starts from the best weights so far, with a fresh optimiser."""
        self.place.stage, self.place.epoch, self.place.stale = self.place.stage + 1, 0, 0
        if self.finished:
            return
        self.net.load_state_dict(self.best)
        if self.averaged:
            self.averaged.load_state_dict(self.best)
        self.optimizer = create_optimizer(self.model, self.net.parameters())
        self.scaler = gradient_scaler(self.model.precision, self.device)

    @torch.inference_mode()
    def _evaluate(self, films: Films) -> tuple[float, float]:
        """Mean loss and score on films as they are."""
        net = self.scored.eval()
        losses, chances = 0.0, []
        for start in range(0, len(films), self.model.batch):
            numbers = range(start, min(start + self.model.batch, len(films)))
            answer, loss = self._answer(net, films.batch(numbers, self.material.pack, self.masks))
            losses += float(loss) * len(numbers)
            chances.append(class_probabilities(answer.logits.double(), self.model.classes).cpu().numpy())
        mean = losses / len(films)
        return mean, score(self.model, np.concatenate(chances), films) if math.isfinite(mean) else math.nan

    @property
    def masks(self) -> Masks | None:
        """What the auxiliary head is shown."""
        aux = self.model.aux
        return Masks(self.model.size // aux.stride, aux.mask) if aux else None

    def _finite(self, loss: float) -> float:
        if not math.isfinite(loss):
            place, rate = self.place, self.optimizer.param_groups[0]["lr"]
            raise BadInput(
                f"The loss became {loss} in epoch {len(place.curve)}, step {place.step}, at learning rate {rate:.3g} "
                f"with {self.model.optimizer} and precision {self.model.precision}: lower stages[{place.stage}].lr, "
                "add warmup or clip, or take precision: fp32."
            )
        return loss


def random_stream(*place: int) -> int:
    """A seed for a place in a training; different places give unrelated seeds."""
    return int(np.random.SeedSequence(place).generate_state(1)[0])
