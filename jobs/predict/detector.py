# SPDX-License-Identifier: AGPL-3.0-only
"""A detector's boxes on a test set."""

import numpy as np
import pandas as pd
import torch

from jobs.contract.experiment import Detector
from jobs.contract.stored.records import Done
from jobs.films.dataset import Dataset
from jobs.nets.prediction import load_selected, start_predicting
from jobs.nets.yolo.data import DetectorFilms
from jobs.nets.yolo.model import trained as trained_net
from jobs.nets.yolo.predict import predict
from jobs.predict.estimate import estimate
from jobs.runtime.context import Context


def predict_films(
    context: Context, model: Detector, trained: Done, dataset: Dataset
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return one row per box (``image``, original pixels, ``confidence``), and the measured seconds per film."""
    torch.set_num_threads(context.threads)
    settings, size = model.inference, model.inference_size
    net, device = trained_net(model, load_selected(context, trained, settings)), context.device()
    rows = np.arange(len(dataset.index))
    films, sample = (DetectorFilms.of(dataset, some, size) for some in (rows, rows[: settings.batch]))

    def predict_sample() -> None:
        predict(net, sample, settings, device, lambda _: None, tta=settings.tta)

    seconds = estimate(context, len(films), len(sample), predict_sample)
    after_batch = start_predicting(context, len(films), settings.batch)
    return predict(net, films, settings, device, after_batch, tta=settings.tta).boxes, {"seconds_a_film": seconds}
