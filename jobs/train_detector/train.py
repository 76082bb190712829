# SPDX-License-Identifier: AGPL-3.0-only
"""The first work of the stage: weights, and how they came about."""

import json
from typing import Any

from safetensors.torch import save_file

from jobs.contract.records import Done
from jobs.nets.yolo.trainer import DetectorTraining, Diverged, Setup, averaged
from jobs.runtime.checkpoint import Checkpoints, Tensors
from jobs.runtime.work import Work
from jobs.train_detector.task import Task


def train(task: Task, work: Work) -> Done:
    """Train the fold's detector, from the latest checkpoint where there is one.

    The work holds ``best.safetensors`` and ``last.safetensors`` (averaged weights, float32) and ``curve.json``.

    Raises:
        Stopped: somebody asked to stop; at most the epoch begun is lost.
        BadInput: the data, the GPU's memory or the settings do not allow it; the message says which.
    """
    checkpoints = Checkpoints(task.context.store, work.prefix, work.inputs)
    saved = checkpoints.load()
    if saved is None or not saved[1]["finished"]:
        _train(task, checkpoints)
        saved = checkpoints.load()
    best = checkpoints.load_best()
    assert saved is not None
    assert best is not None
    done = _finish(task, work, best[0], saved)
    checkpoints.clear()
    return done


def train_or_diverge(task: Task, work: Work) -> Done:
    """The same for settings that may lead nowhere: then the record of that, which scores 0 and has no epochs."""
    try:
        return train(task, work)
    except Diverged as error:
        task.context.progress.say(str(error))
        curve = task.context.scratch / "curve.json"
        curve.write_text(json.dumps({"epochs": []}))
        scores = {"best": 0.0, "last": 0.0}
        done = task.diverged_work().finish({"curve.json": curve}, scores, task.context.cost())
        Checkpoints(task.context.store, work.prefix, work.inputs).clear()
        return done


def _train(task: Task, checkpoints: Checkpoints) -> None:
    context = task.context
    setup = Setup(
        net=task.untrained(), train=task.train_films(), valid=task.fold_films(task.detector.size),
        seed=context.experiment.seed, device=context.device(), threads=context.threads, folder=context.scratch,
    )  # fmt: skip
    DetectorTraining(task.detector, setup, checkpoints, context.progress, context.stop).train()


def _finish(task: Task, work: Work, best: Tensors, saved: tuple[Tensors, dict[str, Any]]) -> Done:
    last, state = saved
    folder = task.context.scratch
    paths = {name: folder / name for name in ("best.safetensors", "last.safetensors", "curve.json")}
    save_file(averaged(best), paths["best.safetensors"])
    save_file(averaged(last), paths["last.safetensors"])
    paths["curve.json"].write_text(json.dumps({"epochs": state["curve"]}, indent=1))
    scores = [row["val_score"] for row in state["curve"]]
    headline = {"best": max(scores), "last": scores[-1], "best_epoch": float(scores.index(max(scores)))}
    return work.finish(paths, headline, task.context.cost())
