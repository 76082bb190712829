# SPDX-License-Identifier: AGPL-3.0-only
"""The stage's first piece of work: the trained weights and their learning curve."""

import json

from safetensors.torch import save_file

from jobs.contract.exits import Stopped
from jobs.contract.stored.records import Done
from jobs.nets.device.compilation import keep_compiled
from jobs.nets.device.precision import resolve_precision
from jobs.nets.yolo.arguments import Setup
from jobs.nets.yolo.state import under
from jobs.nets.yolo.trainer import DetectorTraining, Diverged
from jobs.runtime.checkpoint import Checkpoints, State, Tensors
from jobs.runtime.work import Work
from jobs.train_detector.fold import DetectorFold


def train(fold: DetectorFold, work: Work) -> Done:
    """Train the detector, continuing from the latest checkpoint where there is one.

    Outputs: ``best.safetensors`` and ``last.safetensors`` (moving averages, float32) and ``curve.json``. Scores:
    ``best``, ``last`` and ``best_epoch``.

    Raises:
        Stopped: the task was asked to stop; at most the current epoch is lost.
        Diverged: the loss is no longer finite.
        BadInput: the data, the settings or the GPU's memory do not allow it.
    """
    context = fold.context
    checkpoints = Checkpoints(
        context.store, work.prefix, work.inputs, context.settings.checkpoint_seconds, context.progress.saved
    )
    saved = checkpoints.load()
    if saved is None or not saved[1]["finished"]:
        try:
            saved = _train(fold, checkpoints)
        except Diverged:
            checkpoints.clear()  # another attempt would diverge, too
            raise
    done = _finish(fold, work, *saved)
    checkpoints.clear()
    return done


def train_or_diverge(fold: DetectorFold, work: Work, diverged: Work) -> Done:
    """Like :func:`train`, but on divergence finish the work ``diverged`` (score 0, no epochs) instead of raising."""
    try:
        return train(fold, work)
    except Diverged as error:
        fold.context.progress.say(str(error))
        curve = fold.context.scratch / "curve.json"
        curve.write_text(json.dumps({"epochs": []}))
        return diverged.finish({"curve.json": curve}, {"best": 0.0, "last": 0.0}, fold.context.cost())


def _train(fold: DetectorFold, checkpoints: Checkpoints) -> tuple[Tensors, State]:
    """Return the finished training from memory: by now the checkpoints may be those of another writer."""
    context = fold.context
    keep_compiled(context.cache)
    setup = Setup(
        net=fold.untrained(), train=fold.training_films(), valid=fold.held_out_films(fold.detector.size),
        seed=fold.training.seed, device=context.device(), threads=context.threads, folder=context.scratch,
        own=fold.own_training_films(),
    )  # fmt: skip
    training = DetectorTraining(fold.detector, setup, checkpoints, context.progress, context.stop)
    try:
        training.train()
    except Stopped:
        checkpoints.flush()
        raise
    with context.progress.spent.measure("writing"):
        checkpoints.flush()
    assert training.result is not None
    return training.result


def _finish(fold: DetectorFold, work: Work, tensors: Tensors, state: State) -> Done:
    folder = fold.context.scratch
    paths = {name: folder / name for name in ("best.safetensors", "last.safetensors", "curve.json")}
    save_file(under("best/", tensors), paths["best.safetensors"])
    save_file(under("ema/", tensors), paths["last.safetensors"])
    paths["curve.json"].write_text(json.dumps({"epochs": state["curve"]}, indent=1))
    scores = [row["val_score"] for row in state["curve"]]
    headline = {"best": max(scores), "last": scores[-1], "best_epoch": float(scores.index(max(scores)))}
    precision = resolve_precision(fold.detector.precision, fold.context.device())
    return work.finish(paths, headline, fold.context.cost(precision))
