# SPDX-License-Identifier: AGPL-3.0-only
"""The stage's second piece of work: out-of-fold boxes on the held-out fold's films."""

import time
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from jobs.contract.stored.records import Done
from jobs.nets.prediction import load_selected, start_predicting
from jobs.nets.yolo.model import trained as trained_net
from jobs.nets.yolo.predict import opacity_ap, predict
from jobs.runtime.work import Work
from jobs.train_detector.fold import DetectorFold

SCHEMA: Final = pa.schema(
    [("image", pa.string()), ("fold", pa.int32())]
    + [(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax", "confidence")]
)


def predict_fold(fold: DetectorFold, trained: Done, work: Work) -> Done:
    """Predict the held-out fold with the selected weights, and with the untrained net for comparison.

    Outputs: ``boxes.parquet`` and ``untrained-boxes.parquet`` (image, fold, box in original pixels, confidence), by
    image, then falling confidence.

    Scores: ``opacity``; ``untrained``, the same of the untrained net; ``opacity_at_training_size`` where
    ``inference.size`` differs from the training size; ``opacity_without_tta`` where TTA is on.

    Raises:
        Stopped: the task was asked to stop.
        BadInput: the net ignores TTA, or the GPU's memory does not suffice.
    """
    context, settings = fold.context, fold.detector.inference
    torch.set_num_threads(context.threads)  # as in training: boxes must not depend on whether it ran in this process
    net = trained_net(fold.detector, load_selected(context, trained, settings))
    size, training_size = fold.detector.inference_size, fold.detector.size
    begun = time.monotonic()
    boxes, opacity = _predict(fold, net, size, settings.tta)
    seconds = (time.monotonic() - begun) / len(fold.held_out_films(size))
    untrained_boxes, untrained = _predict(fold, fold.untrained(), size, settings.tta, "untrained")
    scores = {"opacity": opacity, "untrained": untrained}
    if size != training_size:
        scores["opacity_at_training_size"] = _predict(fold, net, training_size, settings.tta, "at training size")[1]
    if settings.tta:
        scores["opacity_without_tta"] = _predict(fold, net, size, False, "without TTA")[1]
    context.progress.say(", ".join(f"{name} {score:.4f}" for name, score in scores.items()))
    outputs = {
        "boxes.parquet": _write(boxes, fold.fold, context.scratch / "boxes.parquet"),
        "untrained-boxes.parquet": _write(untrained_boxes, fold.fold, context.scratch / "untrained-boxes.parquet"),
    }
    return work.finish(outputs, scores, context.cost(seconds_a_film=seconds))


def _predict(
    fold: DetectorFold, net: torch.nn.Module, size: int, tta: bool, variant: str = ""
) -> tuple[pd.DataFrame, float]:
    """Return the boxes on the fold's films and their average precision."""
    context, settings = fold.context, fold.detector.inference
    films = fold.held_out_films(size)
    after_batch = start_predicting(context, len(films), settings.batch, variant)
    boxes = predict(net, films, settings, context.device(), after_batch, tta=tta).boxes
    return boxes, opacity_ap(boxes, films.index)


def _write(boxes: pd.DataFrame, fold: int, path: Path) -> Path:
    table = pa.Table.from_pandas(boxes.assign(fold=fold), schema=SCHEMA, preserve_index=False)
    pq.write_table(table.replace_schema_metadata(None), path, compression="zstd")
    return path
