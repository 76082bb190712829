"""Runs a net's ONNX file on packed films, on a CPU. Needs no torch."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import pandas as pd
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from jobs.contract.experiment import Detector, Model
from jobs.films.loose import PackedFilms
from jobs.nets.tables import Step, film_table, predict_boxes, predict_classes, squares

INPUT: Final = "films"
# What ONNX Runtime raises where it cannot load or run a net.
FAILURES: Final = (state.Fail, state.InvalidGraph, state.NotImplemented, state.RuntimeException)
ERRORS: Final = 3  # ONNX Runtime's log level; below, it reports each constant that it cannot compute beforehand


class OnnxNet:
    """A net's ONNX file, which answers films (B, 1, S, S) uint8.

    Args:
        file: the file.
        threads: CPU threads.
    """

    def __init__(self, file: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, ERRORS
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def __call__(self, films: NDArray[np.uint8]) -> NDArray[Any]:
        """Return a classifier's probabilities (B, classes) or a detector's candidates (B, 5, n)."""
        return np.asarray(self._session.run(None, {INPUT: films})[0])


def predict_films(net: OnnxNet, model: Model, films: PackedFilms, step: Step) -> pd.DataFrame:
    """Predict all films, as :func:`jobs.nets.trained.predict_films` does with torch.

    Args:
        net: the net.
        model: its settings.
        films: the films.
        step: called after each batch with its number of films; may raise to stop.
    """
    pack, rows = films.pack(model.inference_size), np.arange(len(films.index))

    def predictor(positions: range) -> NDArray[Any]:
        return net(squares(pack, rows[positions.start : positions.stop]))

    if isinstance(model, Detector):
        return predict_boxes(predictor, films.index, pack.size, model.inference, step)
    return film_table(films.index, model, predict_classes(predictor, len(rows), model, step))
