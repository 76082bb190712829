# SPDX-License-Identifier: AGPL-3.0-only
"""A detector's boxes on a test set."""

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from jobs.contract.records import Done
from jobs.films.prepared import fetch_dataset
from jobs.nets.yolo.data import DetectorFilms
from jobs.nets.yolo.model import trained as trained_net
from jobs.nets.yolo.predict import predict
from jobs.predict.estimate import estimate
from jobs.runtime.context import Context
from jobs.runtime.work import fetch


def predict_films(context: Context, trained: Done) -> tuple[pd.DataFrame, dict[str, float]]:
    """A row a box (``image``, corners in the film's pixels, ``confidence``), and the estimate's seconds a film."""
    torch.set_num_threads(context.threads)
    detector = context.experiment.detectors[context.model]
    settings, size = detector.inference, detector.inference_size
    dataset = fetch_dataset(context, (size,))
    path = fetch(context.store, trained.outputs[f"{settings.select}.safetensors"], context.cache)
    net, device = trained_net(detector, load_file(path)), context.device()
    rows = np.arange(len(dataset.index))
    films, few = (DetectorFilms.of(dataset, some, size) for some in (rows, rows[: settings.batch]))
    seconds = estimate(
        context, len(films), len(few), lambda: predict(net, few, settings, device, lambda _: None, tta=settings.tta)
    )
    context.progress.phase("predicting", steps=-(-len(films) // settings.batch))

    def step(count: int) -> None:
        context.progress.step(films=count)
        context.stop.check()

    return predict(net, films, settings, device, step, tta=settings.tta).boxes, {"seconds_a_film": seconds}
