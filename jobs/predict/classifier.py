"""A classifier's probabilities for a test set."""

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from jobs.contract.records import Done
from jobs.films.prepared import fetch_dataset
from jobs.nets.classifier import load_classifier
from jobs.nets.inference import predict
from jobs.predict.estimate import estimate
from jobs.runtime.context import Context
from jobs.runtime.work import fetch


def predict_films(context: Context, trained: Done) -> tuple[pd.DataFrame, dict[str, float]]:
    """A row a film (``image``, ``study``, a probability a class), and the seconds a film took in the estimate."""
    torch.set_num_threads(context.threads)
    model = context.experiment.classifiers[context.model]
    dataset = fetch_dataset(context, (model.inference_size,))
    path = fetch(context.store, trained.outputs[f"{model.inference.select}.safetensors"], context.cache)
    device = context.device()
    net = load_classifier(model, load_file(path)).to(device)
    pack, rows = dataset.pack(model.inference_size), np.arange(len(dataset.index))
    few = rows[: model.inference.batch]
    seconds = estimate(context, len(rows), len(few), lambda: predict(net, model, pack, few, device))
    context.progress.phase("predicting", steps=-(-len(rows) // model.inference.batch))

    def tick(count: int) -> None:
        context.progress.step(films=count)
        context.stop.check()

    probabilities = predict(net, model, pack, rows, device, tick)
    named = dataset.index[["image", "study"]].reset_index(drop=True)
    table = pd.concat([named, pd.DataFrame(probabilities, columns=list(model.classes))], axis=1)
    return table, {"seconds_a_film": seconds}
