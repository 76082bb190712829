# SPDX-License-Identifier: AGPL-3.0-only
"""ultralytics' trainer on packed films, which can be interrupted and resumed with bit-identical results.

Differences from the original: it writes no files, opens no connection and runs no callbacks; its own loop neither waits
for the device in order to print nor halves the batch when memory runs out; optimiser and learning rate are the
experiment's, never ``auto``; gradients are accumulated within an epoch only; the loss is computed in float32;
validation scores boxes in original pixels by the competition's metric; the checkpoint at the end of each epoch holds
the whole of ``state.snapshot``.
"""

import math
import random
import time
import warnings
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import torch
from ultralytics.models.yolo.detect import DetectionTrainer

from jobs.contract.exits import BadInput, DeviceFailed, Stopped
from jobs.contract.experiment import Detector, DetectorInference
from jobs.nets.device.compilation import compiled
from jobs.nets.device.determinism import set_determinism
from jobs.nets.device.failures import explained
from jobs.nets.device.precision import autocast, resolve_precision
from jobs.nets.yolo import state
from jobs.nets.yolo.arguments import Setup, arguments
from jobs.nets.yolo.data import DetectorFilms, PackedDataset, PackedLoader
from jobs.nets.yolo.loss import MOST_BOXES, DetectionLoss, most_boxes
from jobs.nets.yolo.model import CHANNELS, CLASSES
from jobs.nets.yolo.predict import opacity_ap, predict
from jobs.runtime.checkpoint import Checkpoints, State, Tensors
from jobs.runtime.preemption import Stop
from jobs.runtime.telemetry.progress import Progress, curve_figures

NOT_FINITE: Final = 5  # consecutive losses that are NaN or infinite, after which a training counts as diverged
TRAIN_SAMPLE: Final = 256  # most training films scored after an epoch, for comparison with the validation score


class Diverged(BadInput):
    """The loss became NaN or infinite."""


class DetectorTraining(DetectionTrainer):  # type: ignore[misc]
    """Training of a detector. Its name avoids "Trainer", by which ultralytics attaches its reporting services."""

    best_fitness: float | None
    optimizer: torch.optim.Optimizer
    tloss: dict[str, torch.Tensor]  # mean over the epoch's batches so far

    def __init__(
        self, detector: Detector, setup: Setup, checkpoints: Checkpoints, progress: Progress, stop_wish: Stop
    ) -> None:
        self.detector, self.setup = detector, setup
        self.checkpoints, self.progress, self.wish = checkpoints, progress, stop_wish
        self.sample = (setup.own or setup.train).sample(min(len(setup.valid), TRAIN_SAMPLE), setup.seed)
        self.curve: list[dict[str, float | None]] = []
        # Epochs are scored with fixed settings, so that a change of the experiment's inference retrains nothing.
        films = detector.eval_batch or detector.batch * (4 if setup.device == "cuda" else 2)
        self.scoring = DetectorInference(batch=films)
        self.judged: dict[str, float | None] = {}
        self.best_weights: Tensors = {}
        self.result: tuple[Tensors, State] | None = None  # of the finished training
        self.read_loss: float | None = None  # of the latest step whose loss was copied from the device
        self.unread: torch.Tensor | None = None  # the loss of the latest step, on the device
        self.batch_index = self.gathered = self.not_finite = 0
        super().__init__(overrides=arguments(detector, setup))
        # ultralytics has just set its own determinism and number of threads, on which the bits of the result depend.
        torch.set_num_threads(setup.threads)
        set_determinism(detector.deterministic, setup.device)

    def train(self) -> None:
        """Train all epochs, starting from the latest checkpoint if there is one.

        Raises:
            Stopped: a stop was requested; at most the current epoch is lost.
            BadInput: the GPU's memory does not suffice.
            DeviceFailed: the GPU failed, or a process that reads films was killed.
            Diverged: the loss became NaN or infinite.
        """
        try:
            with explained(self.detector.batch, self.detector.size, "batch"):
                self._train_epochs()
        except DeviceFailed as error:
            if self.wish.requested:  # a signal to the whole process group may kill loader workers first
                raise Stopped("Asked to stop; the current epoch is lost, earlier ones are stored.") from error
            raise

    def _train_epochs(self) -> None:
        self._setup_train()
        if self.result:  # another writer has finished this training
            return
        batches = len(self.train_loader)
        self.progress.phase(
            "training", steps=self.epochs * batches, epochs=self.epochs, start=self.start_epoch * batches
        )
        if (warmup := self._get_warmup_iterations(batches)) >= self.epochs * batches:
            self.progress.say(f"warm-up takes {warmup} batches, and the whole training has {self.epochs * batches}")
        self.optimizer.zero_grad()
        for epoch in range(self.start_epoch, self.epochs):
            self.epoch = epoch
            self._train_epoch()
            with self.progress.spent.measure("evaluating"):
                self.fitness = self.validate()
            self.stop = self.stopper(self.epoch + 1, self.fitness) or self.epoch + 1 == self.epochs
            self._epoch_ends()
            if self.stop:
                break

    def _train_epoch(self) -> None:
        """Train one epoch, with the steps in the order of ultralytics' own loop."""
        self._epoch_starts()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's warning that the scheduler is stepped before the optimiser
            self.scheduler.step()
        self._model_train()
        if self.args.close_mosaic and self.epoch >= self.epochs - self.args.close_mosaic:
            self._close_dataloader_mosaic()
        spent, loaded = self.progress.spent, iter(self.train_loader)
        for number in range(len(self.train_loader)):
            with spent.measure("waiting"):
                batch = next(loaded)
            with spent.measure("training"):
                self._warm_up(number)
                self._step(number, batch)
            left = len(self.setup.train) - number * self.detector.batch
            self.progress.step(films=min(left, self.detector.batch), loss=self.read_loss)
            self.wish.check()
        with spent.measure("training"):
            self._read_loss()
        self.lr = {f"lr/pg{number}": group["lr"] for number, group in enumerate(self.optimizer.param_groups)}
        self.ema.update_attr(self.model, include=["yaml", "nc", "args", "names", "stride", "class_weights"])

    def _step(self, number: int, batch: dict[str, Any]) -> None:
        """Run the forward and backward pass and, if due, the update; then read the loss of the previous step."""
        batch[MOST_BOXES] = most_boxes(batch)
        batch = self.preprocess_batch(batch)
        with autocast(self.detector.precision, self.device.type):
            raw = self.forward(batch["img"])
        loss, items = self.criterion(raw, batch)
        total = loss.sum()
        if number:
            items = {name: (self.tloss[name] * number + value) / (number + 1) for name, value in items.items()}
        self.tloss = items
        self.scaler.scale(total).backward()
        self.optimizer_step()
        self._read_loss()
        self.unread = total.detach()

    def _warm_up(self, number: int) -> None:
        """Set learning rates and momentum of a warm-up step by ultralytics' formula."""
        batches = len(self.train_loader)
        done, steps = number + batches * self.epoch, self._get_warmup_iterations(batches)
        self.accumulate = self._batches_of_a_step(done, steps)
        if not steps or done > steps:
            return
        span, factor = [0, steps], self.lf(self.epoch)
        for group in self.optimizer.param_groups:
            first = self.args.warmup_bias_lr if group.get("param_group") == "bias" else 0.0
            group["lr"] = float(np.interp(done, span, [first, group["initial_lr"] * factor]))
            if "momentum" in group:
                group["momentum"] = float(np.interp(done, span, [self.args.warmup_momentum, self.args.momentum]))

    def _get_warmup_iterations(self, num_batches: int) -> int:
        """Batches of warm-up: ultralytics' number, or YOLOv5's of 2021 where the detector asks for its least one."""
        least = self.detector.warmup_batches
        if not least:
            return int(super()._get_warmup_iterations(num_batches))
        return max(round(self.detector.warmup * num_batches), least)

    def _batches_of_a_step(self, done: int, warmup: int) -> int:
        """Batches whose gradients make a step, after ``done`` batches of the training, ``warmup`` of which warm up."""
        nominal = self.detector.nominal_batch
        if not nominal:
            return self.detector.accumulate
        full = nominal / self.detector.batch
        rising = float(np.interp(done, [0, warmup], [1, full])) if done <= warmup else full
        return max(1, round(rising))

    def _read_loss(self) -> None:
        """Copy the loss of the previous step from the device, while the current step still runs.

        Raises:
            Diverged: ``NOT_FINITE`` consecutive losses were NaN or infinite.
        """
        if self.unread is None:
            return
        self.read_loss, self.unread = float(self.unread), None
        self.not_finite = 0 if math.isfinite(self.read_loss) else self.not_finite + 1
        if self.not_finite == NOT_FINITE:
            raise self._diverged(f"the loss was {self.read_loss} in {NOT_FINITE} batches in a row")

    def _diverged(self, what: str) -> Diverged:
        return Diverged(
            f"{what}, up to epoch {self.epoch}, batch {self.batch_index}; lower lr ({self.detector.lr}) or lengthen "
            f"warmup ({self.detector.warmup} epochs)"
        )

    def run_callbacks(self, event: str) -> None:
        """Do nothing: ultralytics' callbacks report to its services."""

    def get_dataset(self) -> dict[str, Any]:
        """Return the part of a dataset's YAML that ultralytics reads."""
        return {"train": "", "val": "", "nc": len(CLASSES), "names": CLASSES, "channels": CHANNELS, "path": ""}

    def get_model(self, cfg: object = None, weights: object = None, verbose: bool = True) -> torch.nn.Module:
        """Return the net of the setup."""
        return self.setup.net

    def get_validator(self) -> SimpleNamespace:
        """Return a placeholder; ``validate`` scores the epochs."""
        return SimpleNamespace(metrics=SimpleNamespace(keys=[]))

    def _build_train_pipeline(self) -> None:
        dataset = PackedDataset(
            self.setup.train, self.setup.seed, self.detector.brightness, imgsz=self.detector.size, cache="ram",
            augment=True, hyp=self.args, batch_size=self.detector.batch, data=self.data,
        )  # fmt: skip
        on_gpu = self.device.type == "cuda"
        workers = max(self.setup.threads - 1, 1) if on_gpu else 0
        self.train_loader = PackedLoader(dataset, self.detector.batch, workers, pin=on_gpu)
        self.test_loader = self.train_loader  # only its length is read
        self.accumulate, detector = self.detector.accumulate, self.detector
        decay = detector.weight_decay
        if detector.nominal_batch:
            decay *= detector.batch * max(1, round(detector.nominal_batch / detector.batch)) / detector.nominal_batch
        self.optimizer = self.build_optimizer(self.model, detector.optimizer, detector.lr, detector.momentum, decay)
        self._setup_scheduler()

    def resume_training(self, ckpt: object) -> None:
        """Set up mixed precision, then load the latest checkpoint. ultralytics calls it once the optimiser is built."""
        kind, precision = self.device.type, resolve_precision(self.detector.precision, self.device.type)
        if precision == "fp16":
            self.scaler = torch.amp.GradScaler(kind)
        else:  # a constant scale of 1: the scaler only skips updates whose gradients are not finite
            self.scaler = torch.amp.GradScaler(kind, init_scale=1.0, growth_interval=2**31 - 1)
        self.forward = compiled(self.model, self.detector.compile)
        self.criterion = DetectionLoss(self.model)
        saved = self.checkpoints.load()
        if saved is not None:
            state.restore(self, *saved)
            self.curve, self.best_weights = saved[1]["curve"], state.under("best/", saved[0])
            self.result = saved if saved[1]["finished"] else None
            self.progress.earlier_epochs(self.curve)

    def optimizer_step(self) -> None:
        """Step after ``accumulate`` batches and at the epoch's last, so that no gradient crosses a checkpoint."""
        self.batch_index += 1
        self.gathered += 1
        if self.gathered >= self.accumulate or self.batch_index == len(self.train_loader):
            super().optimizer_step()
            self.gathered = 0

    def validate(self) -> float:
        """Score the averaged weights on the fold's films and, if due, on a sample of the training films.

        Raises:
            Diverged: the loss on the fold's films is NaN or infinite.
        """
        loss, score = self._judge(self.setup.valid)
        if not math.isfinite(loss):
            raise self._diverged(f"the validation loss became {loss}")
        due = (self.epoch + 1) % self.detector.train_score_every == 0
        self.judged = {"val_loss": loss, "train_score": self._judge(self.sample)[1] if due else None}
        return score

    def _judge(self, films: DetectorFilms) -> tuple[float, float]:
        found = predict(
            self.ema.ema, films, self.scoring, self.device.type, lambda _: self.wish.check(), loss=True,
            knob="eval_batch",
        )  # fmt: skip
        return found.loss, opacity_ap(found.boxes, films.index)

    def _epoch_starts(self) -> None:
        self.batch_index, self.gathered, self.epoch_began = 0, 0, time.monotonic()
        self.train_loader.start(self.epoch)
        words = np.random.SeedSequence([self.setup.seed, self.epoch]).generate_state(3)
        random.seed(int(words[0]))
        np.random.seed(int(words[1]))
        torch.manual_seed(int(words[2]))

    def _epoch_ends(self) -> None:
        score = float(self.fitness)
        if self.best_fitness is None or score > self.best_fitness:
            self.best_fitness = score
            weights = self.ema.ema.state_dict()
            self.best_weights = {name: tensor.to("cpu", copy=True) for name, tensor in weights.items()}
        row = {
            "epoch": self.epoch, "stage": 0, "lr": self.lr["lr/pg0"],
            "train_loss": float(sum(self.tloss.values())), **self.judged, "val_score": score,
            "seconds": time.monotonic() - self.epoch_began,
        }  # fmt: skip
        self.curve.append(row)
        with self.progress.spent.measure("writing"):
            tensors, kept = state.snapshot(self)
            kept |= {"finished": bool(self.stop), "curve": self.curve}
            self.checkpoints.save(tensors, kept)
        self.result = (tensors, kept) if self.stop else None
        self.progress.epoch(self.epoch + 1, best=self.best_fitness, **curve_figures(row))
        if not self.stop:
            self.wish.check()
