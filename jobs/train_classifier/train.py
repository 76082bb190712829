"""The stage's first piece of work: the trained weights and their learning curve."""

import json
import os
from typing import Final

from safetensors.torch import save_file

from jobs.contract.stored.records import Done
from jobs.nets.device.failures import explained
from jobs.nets.device.precision import resolve_precision
from jobs.nets.training import Training
from jobs.runtime.checkpoint import Checkpoints, Tensors
from jobs.runtime.context import Context
from jobs.runtime.telemetry.progress import curve_figures
from jobs.runtime.work import Work
from jobs.train_classifier.fold import ClassifierFold
from jobs.train_classifier.loop import ClassifierTraining, TrainingInputs
from jobs.train_classifier.position import EpochMetrics

MAX_WORKERS: Final = 8


def train(context: Context, training: Training, work: Work) -> Done:
    """Train a classifier, continuing from the latest checkpoint where there is one.

    Outputs: ``best.safetensors`` and ``last.safetensors`` (the weights that are scored: the moving average where
    ``ema`` is set) and ``curve.json``. Scores: ``best``, ``last`` and ``best_epoch``.

    Raises:
        Stopped: the task was asked to stop; a checkpoint of the last step is stored.
        BadInput: the data, the settings or the GPU's memory do not allow it.
    """
    fold = ClassifierFold.of(context, training)
    context.progress.phase("loading")
    device = context.device()
    checkpoints = Checkpoints(
        context.store, work.prefix, work.inputs, context.settings.checkpoint_seconds, context.progress.saved
    )
    with explained(fold.model.batch, fold.model.size, "batch"):
        loop = ClassifierTraining(_training_inputs(fold), device, _workers(context, device), context.progress.spent)
        if (saved := checkpoints.load()) is not None:
            loop.restore(*saved)
            context.progress.earlier_epochs(loop.position.curve)
            context.progress.say(f"continuing after step {loop.steps_done} of {loop.steps}")
        _run(context, loop, checkpoints)
    done = _finish(context, work, loop)
    checkpoints.clear()
    return done


def _training_inputs(fold: ClassifierFold) -> TrainingInputs:
    training, validation = fold.training_films(), fold.held_out_films(fold.model.size)
    return TrainingInputs(
        model=fold.model,
        seed=fold.seed,
        pack=fold.joined.pack(fold.model.size),
        training=training,
        validation=validation,
        sample=fold.sample(int(validation.group.max()) + 1),
        untrained=fold.untrained,
    )


def _workers(context: Context, device: str) -> int:
    """Return how many processes read films ahead: none without a GPU, where the net itself keeps all cores busy."""
    return min(max(context.threads - 1, 1), MAX_WORKERS) if device == "cuda" else 0


def _run(context: Context, training: ClassifierTraining, checkpoints: Checkpoints) -> None:
    epochs = sum(stage.epochs for stage in training.model.stages)
    context.progress.phase("training", steps=training.steps, epochs=epochs, start=training.steps_done)

    def save_if_due() -> None:
        stopping = context.stop.requested
        if stopping or checkpoints.due:
            with context.progress.spent.measure("writing"):
                checkpoints.save(training.tensors(), training.state())
        if stopping:
            checkpoints.flush()
            context.stop.check()

    def after_step(loss: float | None, films: int) -> None:
        context.progress.step(films=films, loss=loss)
        save_if_due()

    def after_epoch(metrics: EpochMetrics) -> None:
        context.progress.epoch(metrics["epoch"] + 1, best=training.position.best, **curve_figures(metrics))
        save_if_due()

    def while_evaluating() -> None:
        if context.stop.requested:
            save_if_due()

    training.run(after_step, after_epoch, while_evaluating)


def _finish(context: Context, work: Work, training: ClassifierTraining) -> Done:
    paths = {name: context.scratch / name for name in ("best.safetensors", "last.safetensors", "curve.json")}
    _save(training.best, paths["best.safetensors"])
    _save(training.scored.state_dict(), paths["last.safetensors"])
    curve = training.position.curve
    paths["curve.json"].write_text(json.dumps({"epochs": curve}, indent=1))
    scores = [row["val_score"] for row in curve]
    best = max(scores)
    headline = {"best": best, "last": scores[-1], "best_epoch": float(scores.index(best))}
    precision = resolve_precision(training.model.precision, training.device)
    return work.finish(paths, headline, context.cost(precision))


def _save(tensors: Tensors, path: os.PathLike[str]) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
