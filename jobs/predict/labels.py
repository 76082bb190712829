"""Labels films beside the folds with a teacher: its models' predictions of one fold, merged, as labels to learn."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from jobs.contract.experiment import PseudoLabels
from jobs.contract.names import STUDY_CLASSES, extra_name
from jobs.contract.stored.digest import settings
from jobs.contract.stored.records import Done
from jobs.films.lineage.crossing import Crossings
from jobs.films.lineage.seen import open_training
from jobs.films.prepared import fetch_other_dataset
from jobs.nets.extra import LABELS
from jobs.nets.teachers import Teacher
from jobs.predict.predictions import predictions
from jobs.runtime.context import Context
from jobs.runtime.work import Work, fetch
from jobs.scoring.combine import Merged, merge, voters_of

# Raise by hand when the same predictions lead to other labels.
VERSION: Final = 1


def label(context: Context) -> dict[str, float]:
    """Label the films of the task's entry of ``data.extra`` for its fold; returns how many films, and with what.

    Output: ``labels.parquet``, one row per film: ``image``, ``kept``, the probabilities of its study's classes (NaN
    where no model predicts them), ``boxes`` (original pixels) and ``certain``, whether the boxes are known.

    Raises:
        Stopped: the task was asked to stop.
        BadInput: the teacher has seen films that the fold validates on, or is not finished.
    """
    names = {extra_name(number): extra.labels for number, extra in enumerate(context.experiment.data.extra)}
    given = names[context.model]
    assert given is not None
    teacher, works = Teacher.of(context, given), context.prepared.works
    teacher.refuse_leak(Crossings(context, works["index"]), context.fold)
    trained = teacher.trained(context.fold)
    index = works[f"{context.model}-index"]
    done = {}
    for name, fold in trained.items():
        training = open_training(context.store, fold, f"{name} of run {given.run}")
        done[name] = predictions(context, teacher.models[name], training, index)
    inputs = {
        "version": VERSION,
        "predictions": {name: one.digest for name, one in done.items()},
        "teachers": [trained[name].model_dump(mode="json") for name in sorted(trained)],
        "ensemble": settings(teacher.experiment.ensemble, without={"min_folds", "search", "none", "labels"}),
        "labels": settings(given, without={"run"}),
    }
    labels = context.once("labels", inputs, partial(_make, context, teacher, done, index))
    works = {f"predictions-{name}": one.digest for name, one in done.items()}
    context.refer({"labels": labels.digest, **works}, labels.scores)
    return labels.scores


def _make(context: Context, teacher: Teacher, done: Mapping[str, Done], index: str, work: Work) -> Done:
    rows = fetch_other_dataset(context, index, ()).index
    tables = {}
    for name, one in done.items():
        (output,) = one.outputs.values()
        tables[name] = [pd.read_parquet(fetch(context.store, output, context.cache))]
    classifiers, detectors = voters_of(teacher.experiment, tables)
    table = labels_of(rows, merge(rows, classifiers, detectors, teacher.experiment.ensemble), teacher.labels)
    path = context.scratch / LABELS
    table.to_parquet(path, index=False, compression="zstd")
    scores = {
        "films": float(len(table)),
        "kept": float(table["kept"].sum()),
        "boxed": float((table["boxes"].map(len) > 0).sum()),
        "uncertain": float((~table["certain"]).sum()),
    }
    return work.finish({LABELS: Path(path)}, scores, context.cost())


def labels_of(rows: pd.DataFrame, merged: Merged, wanted: PseudoLabels) -> pd.DataFrame:
    """Return the labels of films, see :func:`label`.

    Args:
        rows: the index, sorted by image.
        merged: the teacher's merged predictions for the same films.
        wanted: what of them counts.
    """
    studies = np.full((len(rows), len(STUDY_CLASSES)), np.nan)
    if merged.study is not None:
        studies = merged.study[merged.studies.get_indexer(pd.Index(merged.films["study"]))]
        studies = studies / studies.sum(axis=1, keepdims=True)
    likeliest = np.nan_to_num(studies, nan=1.0).max(axis=1)
    boxes: list[list[list[float]]] = [[] for _ in range(len(rows))]
    highest = np.zeros(len(rows))
    for film, box, confidence in zip(merged.boxes.film, merged.boxes.box, merged.boxes.confidence, strict=True):
        highest[film] = max(highest[film], confidence)
        if wanted.boxes and confidence >= wanted.boxes.above:
            boxes[film].append([float(side) for side in box])
    certain = np.zeros(len(rows), bool)
    if wanted.boxes:
        certain = (highest >= wanted.boxes.above) | (highest < wanted.boxes.below)
    table = pd.DataFrame({"image": merged.films["image"], "kept": likeliest >= wanted.keep, "certain": certain})
    table[list(STUDY_CLASSES)] = studies
    return table.assign(boxes=pd.Series(boxes, table.index, dtype=object))
