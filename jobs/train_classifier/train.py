"""The first work of the stage: weights, and how they came about."""

import json
import os
import time
from typing import Final

from safetensors.torch import save_file

from jobs.contract.records import Done
from jobs.nets.inference import explained_memory
from jobs.runtime.checkpoint import Checkpoints, Tensors
from jobs.runtime.context import Context
from jobs.runtime.work import Work
from jobs.train_classifier.task import Task
from jobs.train_classifier.training import Figures, Material, Training

MOST_WORKERS: Final = 8


def train(context: Context, work: Work) -> Done:
    """Train the fold's classifier, from its latest checkpoint where there is one.

    The work holds ``best.safetensors`` and ``last.safetensors`` (the weights that are scored: averaged ones where they
    are averaged) and ``curve.json``; its scores are ``best``, ``last`` and ``best_epoch``.

    Raises:
        Stopped: somebody asked to stop; the last step is stored.
        BadInput: the data, the settings or the GPU's memory do not allow it; the message says which.
    """
    task = Task.of(context)
    context.progress.phase("loading")
    device = context.device()
    checkpoints = Checkpoints(context.store, work.prefix, work.inputs)
    with explained_memory(task.model.batch, task.model.size, "batch"):
        training = Training(_material(task), device, _workers(context, device))
        if (saved := checkpoints.load()) is not None:
            training.restore(*saved)
            context.progress.say(f"going on after step {training.steps_done} of {training.steps}")
        _run(context, training, checkpoints)
    done = _finish(context, work, training)
    checkpoints.clear()
    return done


def _material(task: Task) -> Material:
    training, validation = task.training_films(), task.fold_films(task.model.size)
    return Material(
        model=task.model,
        seed=task.seed,
        pack=task.dataset.pack(task.model.size),
        training=training,
        validation=validation,
        sample=training.of_studies(int(validation.group.max()) + 1, task.seed),
        untrained=task.untrained,
    )


def _workers(context: Context, device: str) -> int:
    """Beside a GPU the CPUs read ahead; without one they are all busy with the net, and reading is a sliver of it."""
    return min(max(context.threads - 1, 1), MOST_WORKERS) if device == "cuda" else 0


def _run(context: Context, training: Training, checkpoints: Checkpoints) -> None:
    kept = time.monotonic()
    epochs = sum(stage.epochs for stage in training.model.stages)
    context.progress.phase("training", steps=training.steps, epochs=epochs, start=training.steps_done)

    def keep() -> None:
        nonlocal kept
        stopping = context.stop.requested
        if stopping or time.monotonic() - kept > context.settings.checkpoint_seconds:
            checkpoints.save(training.tensors(), training.state())
            kept = time.monotonic()
        if stopping:
            context.stop.check()

    def after_step(loss: float, films: int) -> None:
        context.progress.step(films=films, loss=loss)
        keep()

    def after_epoch(figures: Figures) -> None:
        shown = {name: figures[name] for name in ("lr", "train_loss", "val_loss", "train_score", "val_score")}
        context.progress.epoch(figures["epoch"] + 1, best=training.place.best, **shown)
        keep()

    training.run(after_step, after_epoch)


def _finish(context: Context, work: Work, training: Training) -> Done:
    paths = {name: context.scratch / name for name in ("best.safetensors", "last.safetensors", "curve.json")}
    _save(training.best, paths["best.safetensors"])
    _save(training.scored.state_dict(), paths["last.safetensors"])
    curve = training.place.curve
    paths["curve.json"].write_text(json.dumps({"epochs": curve}, indent=1))
    scores = [row["val_score"] for row in curve]
    best = max(scores)
    headline = {"best": best, "last": scores[-1], "best_epoch": float(scores.index(best))}
    return work.finish(paths, headline, context.cost())


def _save(tensors: Tensors, path: os.PathLike[str]) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
