"""The training loop of a classifier, which can be saved after any step and restored.

All randomness is a function of the position: the films' order of (seed, epoch), augmentation of (seed, epoch, film),
dropout and mixing of (seed, epoch, step). So a checkpoint needs no state of random generators, and a training that
continues from a checkpoint ends with the same weights as one that was never interrupted.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Classifier, LearningStage
from jobs.films.augment import Augmentation
from jobs.films.dataset import Pack
from jobs.films.loader import Batch, Films, Masks, TrainingFilms, batches, epoch_batches, epoch_steps
from jobs.nets.classifier.averaging import WeightAverage, average_decay
from jobs.nets.classifier.losses import balanced_weights, training_loss
from jobs.nets.classifier.mixing import mix
from jobs.nets.classifier.net import Answer, ClassifierNet, class_probabilities
from jobs.nets.classifier.optimizers import (
    create_optimizer,
    learning_rate,
    set_learning_rate,
)
from jobs.nets.device.compilation import compiled
from jobs.nets.device.failures import explained
from jobs.nets.device.precision import autocast, gradient_scaler, restore_scaler
from jobs.nets.optimizer_state import optimizer_tensors, restore_optimizer
from jobs.runtime.checkpoint import Tensors
from jobs.runtime.telemetry.stopwatch import Stopwatch
from jobs.train_classifier.position import EpochMetrics, Position, random_stream
from jobs.train_classifier.scores import score

MIXING: Final = 1  # sets mixing's stream apart from others at the same position


@dataclass(frozen=True)
class TrainingInputs:
    """What the training of one fold starts from.

    Attributes:
        model: the classifier and its training settings.
        seed: the training's seed.
        pack: all films at the training size.
        training: the other folds' films.
        validation: the held-out fold's films.
        sample: training films of about as many studies as the held-out fold; the training score uses these.
        untrained: creates the net as it is before its first step.
    """

    model: Classifier
    seed: int
    pack: Pack
    training: Films
    validation: Films
    sample: Films
    untrained: Callable[[], ClassifierNet]


class ClassifierTraining:
    """A training in memory. ``run`` trains to the end; ``tensors`` and ``state`` are its complete state at any step.

    Args:
        inputs: the model, the films and the seed.
        device: ``cuda`` or ``cpu``.
        workers: processes that read films ahead; 0 reads them in this process.
        spent: measures the time by what it is spent on.
    """

    def __init__(self, inputs: TrainingInputs, device: str, workers: int, spent: Stopwatch | None = None) -> None:
        self.inputs, self.model, self.device, self.workers = inputs, inputs.model, device, workers
        self.spent = spent or Stopwatch()
        self.net = inputs.untrained().to(device)
        self.compiled = compiled(self.net, self.model.compile)
        self.averaged = copy.deepcopy(self.net).requires_grad_(False) if self.model.ema else None
        self.average = WeightAverage(self.averaged, self.net) if self.averaged else None
        self.optimizer = create_optimizer(self.model, self.net.parameters())
        self.scaler = gradient_scaler(self.model.precision, device)
        labels = inputs.training
        weights = balanced_weights(self.model, labels.study, labels.film, labels.counted)
        self.class_weights = None if weights is None else torch.from_numpy(weights).to(device)
        self.augmentation = Augmentation(self.model.augment, inputs.seed, self.model.size)
        self.best: Tensors = {}
        self.position = Position()
        self.loss: float | None = None  # the latest that has been read from the device
        self._unread: torch.Tensor | None = None  # loss of the latest step, on the device

    @property
    def scored(self) -> ClassifierNet:
        """The net that is scored and stored: the moving average where ``ema`` is set."""
        return self.averaged or self.net

    @property
    def epoch_steps(self) -> int:
        """Optimiser steps per epoch."""
        return epoch_steps(len(self.inputs.training), self.model.batch, self.model.accumulate)

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training, unless ``patience`` ends a stage early."""
        return self.epoch_steps * sum(stage.epochs for stage in self.model.stages)

    @property
    def steps_done(self) -> int:
        """Finished optimiser steps."""
        return self.epoch_steps * len(self.position.curve) + self.position.step

    @property
    def finished(self) -> bool:
        """Whether all stages are done."""
        return self.position.stage == len(self.model.stages)

    def tensors(self) -> Tensors:
        """Return the nets, the best weights and the optimiser as named tensors."""
        parts = {
            "net": self.net.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged else {},
            "best": self.best,
            "optimizer": optimizer_tensors(self.optimizer),
        }
        return {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}

    def state(self) -> dict[str, Any]:
        """Return the rest of the state as JSON: the position and the gradient scaler."""
        self._read_loss()
        return {"place": self.position.to_json(), "scaler": self.scaler.state_dict()}

    def restore(self, tensors: Tensors, state: dict[str, Any]) -> None:
        """Restore what :meth:`tensors` and :meth:`state` returned."""
        parts: dict[str, Tensors] = {"net": {}, "averaged": {}, "best": {}, "optimizer": {}}
        for path, tensor in tensors.items():
            part, name = path.split(".", 1)
            parts[part][name] = tensor
        self.net.load_state_dict(parts["net"])
        if self.averaged:
            self.averaged.load_state_dict(parts["averaged"])
        self.best = parts["best"]
        restore_optimizer(self.optimizer, parts["optimizer"])
        restore_scaler(self.scaler, state["scaler"])
        self.position = Position.from_json(state["place"])

    def run(
        self,
        after_step: Callable[[float | None, int], None],
        after_epoch: Callable[[EpochMetrics], None],
        while_evaluating: Callable[[], None] = lambda: None,
    ) -> None:
        """Train to the end. The state may be saved whenever a hook is called.

        Args:
            after_step: called with the loss of the step before (waiting for the step's own would leave a GPU idle; None
                in an attempt's first step) and the step's number of films.
            after_epoch: called with the epoch's metrics.
            while_evaluating: called after each batch that is scored.

        Raises:
            BadInput: the loss is no longer finite.
        """
        while not self.finished:
            stage = self.model.stages[self.position.stage]
            begun = time.monotonic()
            for films in self._steps(stage):
                now = time.monotonic()
                self.position.seconds, begun = self.position.seconds + now - begun, now
                after_step(self.loss, films)
            after_epoch(self._end_epoch(stage, begun, while_evaluating))

    def _steps(self, stage: LearningStage) -> Iterator[int]:
        """Train the remaining steps of an epoch; yields the number of films of each."""
        model, inputs, epoch = self.model, self.inputs, len(self.position.curve)
        films = TrainingFilms(inputs.training, inputs.pack, self.masks, self.augmentation, epoch)
        order = epoch_batches(len(inputs.training), model.batch, model.accumulate, inputs.seed, epoch)
        left = order[self.position.step * model.accumulate :]
        loaded = iter(batches(films, left, self.workers, pin=self.device == "cuda"))
        for start in range(0, len(left), model.accumulate):
            with self.spent.measure("waiting"):
                parts = [next(loaded) for _ in left[start : start + model.accumulate]]
            with self.spent.measure("training"):
                self._step(stage, parts)
            yield sum(len(part.films) for part in parts)

    def _step(self, stage: LearningStage, parts: list[Batch]) -> None:
        """Take one optimiser step on the mean loss over the films of all parts.

        The host waits for the step before only, whose loss it reads once this step is launched; with fp16 and MADGRAD
        it also waits to know whether the gradients are finite.
        """
        position = self.position
        torch.manual_seed(random_stream(self.inputs.seed, len(position.curve), position.step))
        number = position.epoch * self.epoch_steps + position.step
        set_learning_rate(self.optimizer, learning_rate(self.model, stage, number, self.epoch_steps))
        films = sum(len(part.films) for part in parts)
        self.net.train()
        total = torch.zeros((), device=self.device)
        for number, part in enumerate(parts):
            stream = np.random.default_rng((self.inputs.seed, len(position.curve), position.step, number, MIXING))
            loss = self._forward(self.compiled, part, stream)[1] * (len(part.films) / films)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        if self.model.clip:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.model.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.average:
            rising = self.model.ema_warmup * self.epoch_steps
            self.average.update(average_decay(self.model.ema, self.steps_done + 1, rising))
        self._read_loss()
        self._unread = total
        position.step += 1

    def _read_loss(self) -> None:
        """Wait for the step whose loss is unread, and add its loss to the epoch's."""
        if self._unread is not None:
            self.loss, self._unread = self._finite(float(self._unread)), None
            self.position.loss += self.loss

    def _forward(
        self, net: Callable[[torch.Tensor], Answer], batch: Batch, stream: np.random.Generator | None = None
    ) -> tuple[Answer, torch.Tensor]:
        """Return the net's output for a batch and its loss; a training batch is mixed, by the ``stream``."""
        batch, mixed = batch.to(self.device), None
        if stream:
            batch, mixed = mix(batch, self.model, stream)
        with autocast(self.model.precision, self.device):
            answer = net(batch.films)
        labels = (batch.study, batch.film, batch.counted, batch.masks)
        return answer, training_loss(self.model, answer, *labels, self.class_weights, mixed)

    def _end_epoch(self, stage: LearningStage, begun: float, after_batch: Callable[[], None]) -> EpochMetrics:
        """Score the epoch, keep the weights if they are the best so far, and move to the next epoch or stage."""
        position = self.position
        with self.spent.measure("training"):
            self._read_loss()
        with self.spent.measure("evaluating"):
            val_loss, val_score = self._evaluate(self.inputs.validation, after_batch)
            due = (len(position.curve) + 1) % self.model.train_score_every == 0
            train_score = self._evaluate(self.inputs.sample, after_batch)[1] if due else None
        metrics: EpochMetrics = {
            "epoch": len(position.curve),
            "stage": position.stage,
            "lr": learning_rate(self.model, stage, position.epoch * self.epoch_steps, self.epoch_steps),
            "train_loss": position.loss / position.step,
            "val_loss": self._finite(val_loss),
            "train_score": train_score,
            "val_score": val_score,
            "seconds": position.seconds + time.monotonic() - begun,
        }
        position.curve.append(metrics)
        position.stale += 1
        if val_score > position.best:
            position.best, position.stale = val_score, 0
            self.best = {name: tensor.detach().clone() for name, tensor in self.scored.state_dict().items()}
        position.epoch, position.step, position.loss, position.seconds = position.epoch + 1, 0, 0.0, 0.0
        if position.epoch == stage.epochs or position.stale == self.model.patience:
            self._end_stage()
        return metrics

    def _end_stage(self) -> None:
        """Start the next stage from the best weights so far, with a fresh optimiser."""
        self.position.stage, self.position.epoch, self.position.stale = self.position.stage + 1, 0, 0
        if self.finished:
            return
        self.net.load_state_dict(self.best)
        if self.averaged:
            self.averaged.load_state_dict(self.best)
        self.optimizer = create_optimizer(self.model, self.net.parameters())
        self.scaler = gradient_scaler(self.model.precision, self.device)

    @torch.inference_mode()
    def _evaluate(self, films: Films, after_batch: Callable[[], None]) -> tuple[float, float]:
        """Return the mean loss and the score on films without augmentation."""
        net = self.scored.eval()
        size = self.model.eval_batch or self.model.batch * (4 if self.device == "cuda" else 1)
        parts = [range(start, min(start + size, len(films))) for start in range(0, len(films), size)]
        losses, probabilities = [], []
        with explained(size, self.model.size, "eval_batch"):
            for numbers in parts:
                answer, loss = self._forward(net, films.batch(numbers, self.inputs.pack, self.masks))
                losses.append(loss)
                probabilities.append(class_probabilities(answer.logits.double(), self.model))
                after_batch()
        means = torch.stack(losses).tolist()  # the first time that the host waits for the device
        mean = sum(loss * len(numbers) for loss, numbers in zip(means, parts, strict=True)) / len(films)
        if not math.isfinite(mean):
            return mean, math.nan
        return mean, score(self.model, torch.cat(probabilities).cpu().numpy(), films)

    @property
    def masks(self) -> Masks | None:
        """The target masks of the auxiliary head; None without one."""
        aux = self.model.aux
        return Masks(self.model.size // aux.stride, aux.mask) if aux else None

    def _finite(self, loss: float) -> float:
        if not math.isfinite(loss):
            position, rate = self.position, self.optimizer.param_groups[0]["lr"]
            raise BadInput(
                f"The loss became {loss} in epoch {len(position.curve)}, step {position.step}, at learning rate "
                f"{rate:.3g} with {self.model.optimizer} and precision {self.model.precision}: lower "
                f"stages[{position.stage}].lr, add warmup or clip, or set precision: fp32."
            )
        return loss
