"""A trained net of a run, classifier or detector: loaded from its weights file, and its answers as tables."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from jobs.contract.experiment import Classifier, Detector, Model
from jobs.films.loose import PackedFilms
from jobs.nets.classifier import inference
from jobs.nets.classifier.net import ClassifierNet, load_classifier
from jobs.nets.tables import Step, film_table


def load_nets(model: Model, weights: Mapping[int, Path], device: str) -> Iterator[tuple[int, torch.nn.Module]]:
    """Yield a model's net with each fold's weights, ready to predict.

    It is one module, whose weights the next fold replaces: building a detector takes longer than predicting a film.
    Weights stored in half precision are widened.

    Args:
        model: its settings.
        weights: fold → safetensors file.
        device: ``cuda`` or ``cpu``.

    Raises:
        BadInput: the weights are of another model.
    """
    net: torch.nn.Module | None = None
    for fold, path in weights.items():
        tensors = {
            name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in load_file(path).items()
        }
        if net is None:
            net = _build(model, tensors).to(device).eval()
        else:
            net.load_state_dict(tensors)
        yield fold, net


def _build(model: Model, tensors: dict[str, torch.Tensor]) -> torch.nn.Module:
    if isinstance(model, Classifier):
        return load_classifier(model, tensors)
    from jobs.nets.yolo.model import trained

    return trained(model, tensors)


def predict_films(
    net: torch.nn.Module, model: Model, device: str, films: PackedFilms, after_batch: Step
) -> pd.DataFrame:
    """Predict all films with the model's ``inference`` settings, in the batches that the stage ``predict`` makes.

    Args:
        net: a net of :func:`load_nets`.
        model: its settings.
        device: ``cuda`` or ``cpu``.
        films: the films.
        after_batch: called after each batch with its number of films; may raise to stop.

    Returns:
        Of a classifier, one row per film; of a detector, one row per box, as the ensemble combines them.
    """
    pack, rows = films.pack(model.inference_size), np.arange(len(films.index))
    if isinstance(model, Detector):
        from jobs.nets.yolo.data import DetectorFilms
        from jobs.nets.yolo.predict import predict

        settings = model.inference
        packed = DetectorFilms(films.index, rows, pack)
        return predict(net, packed, settings, device, after_batch, tta=settings.tta).boxes
    assert isinstance(net, ClassifierNet)
    probabilities = inference.predict(net, model, pack, rows, device, after_batch)
    return film_table(films.index, model, probabilities)
