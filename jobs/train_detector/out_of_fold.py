# SPDX-License-Identifier: AGPL-3.0-only
"""The second work of the stage: boxes on the fold's films, which the weights have not seen."""

from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file

from jobs.contract.experiment import DetectorInference
from jobs.contract.records import Done, Output
from jobs.nets.yolo.model import trained
from jobs.nets.yolo.predict import opacity_ap, predict
from jobs.runtime.work import Work, fetch
from jobs.train_detector.task import Task

SCHEMA: Final = pa.schema(
    [("image", pa.string()), ("fold", pa.int32())]
    + [(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax", "confidence")]
)


def out_of_fold(task: Task, work: Work, weights: Done) -> Done:
    """Predict the fold's films with the selected weights, and with the net as it was before training.

    The work holds ``boxes.parquet`` and ``untrained-boxes.parquet``: image, fold, box in original pixels, confidence;
    by image, then falling confidence. Its scores are ``opacity`` and ``untrained``, and what the inference's choices
    are worth: ``opacity_at_training_size`` where it has a size of its own, ``opacity_without_tta`` where it has TTA.

    Raises:
        Stopped: somebody asked to stop.
        BadInput: the net ignores TTA, or the GPU's memory does not suffice.
    """
    context, settings = task.context, task.detector.inference
    torch.set_num_threads(context.threads)  # as in training: the boxes must not depend on whether it ran just before
    chosen = selected(settings, weights.outputs)
    net = trained(task.detector, load_file(fetch(context.store, chosen, context.cache)))
    size, trained_at = task.detector.inference_size, task.detector.size
    boxes, opacity = _predict(task, net, size, settings.tta)
    unlearned, floor = _predict(task, task.untrained(), size, settings.tta, "untrained")
    scores = {"opacity": opacity, "untrained": floor}
    if size != trained_at:
        scores["opacity_at_training_size"] = _predict(task, net, trained_at, settings.tta, "at training size")[1]
    if settings.tta:
        scores["opacity_without_tta"] = _predict(task, net, size, False, "without TTA")[1]
    context.progress.say(", ".join(f"{name} {score:.4f}" for name, score in scores.items()))
    outputs = {
        "boxes.parquet": _write(boxes, task.fold, context.scratch / "boxes.parquet"),
        "untrained-boxes.parquet": _write(unlearned, task.fold, context.scratch / "untrained-boxes.parquet"),
    }
    return work.finish(outputs, scores, context.cost())


def selected(settings: DetectorInference, outputs: dict[str, Output]) -> Output:
    """The weights that count, of those a training left."""
    return outputs[f"{settings.select}.safetensors"]


def _predict(task: Task, net: torch.nn.Module, size: int, tta: bool, how: str = "") -> tuple[pd.DataFrame, float]:
    context, settings = task.context, task.detector.inference
    films = task.fold_films(size)
    context.progress.phase(f"predicting {how}".strip(), steps=-(-len(films) // settings.batch))

    def step(count: int) -> None:
        context.progress.step(films=count)
        context.stop.check()

    boxes = predict(net, films, settings, context.device(), step, tta=tta).boxes
    return boxes, opacity_ap(boxes, films.index)


def _write(boxes: pd.DataFrame, fold: int, path: Path) -> Path:
    table = pa.Table.from_pandas(boxes.assign(fold=fold), schema=SCHEMA, preserve_index=False)
    pq.write_table(table.replace_schema_metadata(None), path, compression="zstd")
    return path
