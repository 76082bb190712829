"""A classifier's probabilities for a test set."""

import numpy as np
import pandas as pd
import torch

from jobs.contract.experiment import Classifier
from jobs.contract.stored.records import Done
from jobs.films.dataset import Dataset
from jobs.nets.classifier.inference import predict
from jobs.nets.classifier.net import load_classifier
from jobs.nets.prediction import load_selected, start_predicting
from jobs.nets.tables import film_table
from jobs.predict.estimate import estimate
from jobs.runtime.context import Context


def predict_films(
    context: Context, model: Classifier, trained: Done, dataset: Dataset
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return one row per film (``image``, ``study``, a probability per class), and the measured seconds per film."""
    torch.set_num_threads(context.threads)
    device = context.device()
    net = load_classifier(model, load_selected(context, trained, model.inference)).to(device)
    pack, rows = dataset.pack(model.inference_size), np.arange(len(dataset.index))
    sample = rows[: model.inference.batch]
    seconds = estimate(context, len(rows), len(sample), lambda: predict(net, model, pack, sample, device))
    after_batch = start_predicting(context, len(rows), model.inference.batch)
    probabilities = predict(net, model, pack, rows, device, after_batch)
    return film_table(dataset.index, model, probabilities), {"seconds_a_film": seconds}
