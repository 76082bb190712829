# SPDX-License-Identifier: AGPL-3.0-only
"""ultralytics' trainer on packed films, made to stop at any time and to go on bit by bit.

What differs from the original: no files, no network, no callbacks but ours; the optimiser and its learning rate are
those asked for, never ``auto``; gradients are accumulated within an epoch only; validation scores boxes in original
pixels by the competition's metric; a checkpoint at each epoch's end holds all of ``state.snapshot``.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import torch
from ultralytics.models.yolo.detect import DetectionTrainer

from jobs.contract.exits import BadInput, Stopped
from jobs.contract.experiment import Detector, DetectorInference
from jobs.nets.yolo import state
from jobs.nets.yolo.data import DetectorFilms, PackedDataset, PackedLoader
from jobs.nets.yolo.model import CHANNELS, CLASSES
from jobs.nets.yolo.predict import opacity_ap, predict
from jobs.runtime.checkpoint import Checkpoints, Tensors
from jobs.runtime.preemption import Stop
from jobs.runtime.telemetry.progress import Progress

TRAIN_SAMPLE: Final = 256  # training films scored after each epoch, to be held against the validation score


class Diverged(BadInput):
    """The loss is no finite number any more: these settings lead nowhere."""


@dataclass(frozen=True)
class Setup:
    """What a training is of, and where it runs.

    Attributes:
        net: the net as training begins.
        train: films to train on.
        valid: the fold's films.
        seed: of order and augmentation.
        device: ``cuda`` or ``cpu``.
        threads: CPU threads to use, loader workers included.
        folder: where ultralytics may write its small files.
    """

    net: torch.nn.Module
    train: DetectorFilms
    valid: DetectorFilms
    seed: int
    device: str
    threads: int
    folder: Path


class DetectorTraining(DetectionTrainer):  # type: ignore[misc]
    """One training of a detector. Not named a trainer: by that word ultralytics attaches its reporting services."""

    best_fitness: float | None

    def __init__(
        self, detector: Detector, setup: Setup, checkpoints: Checkpoints, progress: Progress, stop_wish: Stop
    ) -> None:
        self.detector, self.setup = detector, setup
        self.checkpoints, self.progress, self.wish = checkpoints, progress, stop_wish
        self.sample = setup.train.sample(min(len(setup.valid), TRAIN_SAMPLE), setup.seed)
        self.curve: list[dict[str, float | int]] = []
        # Scores while training follow fixed settings: the experiment's inference may change without training anew.
        self.scoring = DetectorInference(batch=2 * detector.batch)
        self.batch_index, self.judged = 0, {"val_loss": float("nan"), "train_score": float("nan")}
        super().__init__(overrides=arguments(detector, setup))
        torch.set_num_threads(setup.threads)  # ultralytics has just set its own number; another gives other bits

    def train(self) -> None:
        """Train to the end, from the latest checkpoint where there is one.

        Raises:
            Stopped: somebody asked to stop; at most the epoch begun is lost.
            BadInput: the GPU's memory does not suffice.
            Diverged: the loss is no finite number.
        """
        try:
            super().train()
        except torch.OutOfMemoryError as error:
            raise BadInput(
                f"the GPU's memory does not hold a batch of {self.detector.batch} films of {self.detector.size} pixels "
                f"({error}); lower batch and raise accumulate by as much, or lower size"
            ) from error
        except RuntimeError as error:
            if self.wish.requested:  # a signal to the whole process group may end loader workers first
                raise Stopped("Asked to stop; the epoch begun is lost, the ones before are stored.") from error
            raise

    def run_callbacks(self, event: str) -> None:
        """Ours in place of ultralytics' lists, which report to its services."""
        handlers: dict[str, Callable[[], None]] = {
            "on_train_start": self._training_starts,
            "on_train_epoch_start": self._epoch_starts,
            "on_train_batch_end": self._batch_ends,
            "on_fit_epoch_end": self._epoch_ends,
        }
        if event in handlers:
            handlers[event]()

    def get_dataset(self) -> dict[str, Any]:
        """What ultralytics reads of a dataset's YAML."""
        return {"train": "", "val": "", "nc": len(CLASSES), "names": CLASSES, "channels": CHANNELS, "path": ""}

    def get_model(self, cfg: object = None, weights: object = None, verbose: bool = True) -> torch.nn.Module:
        """The net that was given."""
        return self.setup.net

    def get_validator(self) -> SimpleNamespace:
        """A stand-in: ``validate`` does the work."""
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
        self.accumulate = 1  # ours is in optimizer_step
        self.optimizer = self.build_optimizer(
            self.model, self.detector.optimizer, self.detector.lr, self.detector.momentum, self.detector.weight_decay
        )
        self._setup_scheduler()

    def resume_training(self, ckpt: object) -> None:
        """Called once net, average and optimiser are made: mixed precision, then what an earlier attempt left."""
        # Asking ultralytics for mixed precision makes it fetch a net to try it on.
        self.amp = self.device.type == "cuda"
        self.scaler = torch.amp.GradScaler("cuda", enabled=self.amp)
        saved = self.checkpoints.load()
        if saved is not None:
            state.restore(self, *saved)
            self.curve = saved[1]["curve"]

    def optimizer_step(self) -> None:
        """Step at every k-th batch and at the epoch's last, so that no gradient crosses a checkpoint."""
        self.batch_index += 1
        if self.batch_index % self.detector.accumulate == 0 or self.batch_index == len(self.train_loader):
            super().optimizer_step()

    def validate(self) -> tuple[dict[str, float], float]:
        """Score the averaged weights on the fold's films, and on as many of the training films."""
        valid = self._judge(self.setup.valid)
        train = self._judge(self.sample)
        self.judged = {"val_loss": valid[0], "train_score": train[1]}
        return {}, valid[1]

    def save_model(self) -> bool:
        """Nothing: ``_epoch_ends`` stores the checkpoint, once it is known whether training goes on."""
        return False

    def save_metrics(self, metrics: dict[str, float]) -> None:
        """Nothing: the curve is part of the checkpoint."""

    def final_eval(self) -> None:
        """Nothing: it would read a file that is not there."""

    def _judge(self, films: DetectorFilms) -> tuple[float, float]:
        found = predict(self.ema.ema, films, self.scoring, self.device.type, lambda _: self.wish.check(), loss=True)
        return found.loss, opacity_ap(found.boxes, films.index)

    def _training_starts(self) -> None:
        batches = len(self.train_loader)
        self.progress.phase(
            "training", steps=self.epochs * batches, epochs=self.epochs, start=self.start_epoch * batches
        )

    def _epoch_starts(self) -> None:
        self._oom_retries = 3  # of 3: ultralytics would halve the batch and go on, silently another experiment
        self.batch_index, self.epoch_began = 0, time.monotonic()
        self.train_loader.start(self.epoch)
        words = np.random.SeedSequence([self.setup.seed, self.epoch]).generate_state(3)
        random.seed(int(words[0]))
        np.random.seed(int(words[1]))
        torch.manual_seed(int(words[2]))

    def _batch_ends(self) -> None:
        loss = float(self.loss.detach())
        if not np.isfinite(loss):
            raise Diverged(
                f"the loss became {loss} in epoch {self.epoch}, batch {self.batch_index}; "
                f"lower lr ({self.detector.lr}) or lengthen warmup ({self.detector.warmup} epochs)"
            )
        left = len(self.setup.train) - (self.batch_index - 1) * self.detector.batch
        self.progress.step(films=min(left, self.detector.batch), loss=loss)
        self.wish.check()

    def _epoch_ends(self) -> None:
        score = float(self.fitness)
        best = self.best_fitness is None or score > self.best_fitness
        if best:
            self.best_fitness = score
        row = {
            "epoch": self.epoch, "stage": 0, "lr": self.lr["lr/pg0"],
            "train_loss": float(sum(self.tloss.values())), **self.judged, "val_score": score,
            "seconds": time.monotonic() - self.epoch_began,
        }  # fmt: skip
        self.curve.append(row)
        tensors, kept = state.snapshot(self)
        finished = {"finished": bool(self.stop), "curve": self.curve}
        self.checkpoints.save(tensors, {**kept, **finished}, best=best)
        self.progress.epoch(self.epoch + 1, best=self.best_fitness, lr=row["lr"], val_score=score)
        if not self.stop:
            self.wish.check()


def averaged(tensors: Tensors) -> Tensors:
    """The weights of a checkpoint that are scored and handed on: the moving average, in single precision."""
    return state.under("ema/", tensors)


def arguments(detector: Detector, setup: Setup) -> dict[str, Any]:
    """The training in ultralytics' words. What has a default there that we do not want is named here, too."""
    return {
        "task": "detect",
        "mode": "train",
        "model": f"{detector.model}.yaml",
        "data": "packed",
        "epochs": detector.epochs,
        "batch": detector.batch,
        "nbs": detector.batch,
        "imgsz": detector.size,
        "device": "0" if setup.device == "cuda" else "cpu",
        "project": str(setup.folder),
        "name": "ultralytics",
        "exist_ok": True,
        "pretrained": False,
        "seed": setup.seed,
        "deterministic": True,
        "amp": False,
        "plots": False,
        "save": False,
        "patience": detector.patience or 0,
        "optimizer": detector.optimizer,
        "lr0": detector.lr,
        "lrf": detector.final_lr,
        "cos_lr": {"linear": False, "cosine": True}[detector.schedule],
        "momentum": detector.momentum,
        "weight_decay": detector.weight_decay,
        "warmup_epochs": detector.warmup,
        "warmup_bias_lr": 0.1 if detector.optimizer == "SGD" else 0.0,
        "mosaic": detector.mosaic,
        "mixup": detector.mixup,
        "close_mosaic": detector.close_mosaic,
        "degrees": detector.degrees,
        "translate": detector.translate,
        "scale": detector.scale,
        "shear": detector.shear,
        "fliplr": detector.flip,
    }
