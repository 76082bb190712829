"""Writes the nets of a run as ONNX and checks each against its torch net."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Model
from jobs.contract.experiment.source import Phantom
from jobs.films.letterbox import Letterbox
from jobs.films.phantom.studies import draw_film, make_studies, random_generator
from jobs.nets.onnx.convert import OnnxWriter, WholeNet, architecture
from jobs.nets.onnx.sessions import FAILURES, OnnxNet
from jobs.nets.trained import load_nets
from jobs.tools.export.deviation import PIXELS, PROBABILITIES, Deviation
from jobs.tools.export.with_onnx import SUFFIX

CHECKED: Final = 4  # films


def write_nets(name: str, model: Model, weights: Mapping[int, Path], to: Path, *, half: bool) -> Iterator[Deviation]:
    """Write a model's nets, and check each on a few synthetic films.

    Args:
        name: the model's name.
        model: its settings.
        weights: fold → safetensors file.
        to: the folder.
        half: store weights in half precision.

    Raises:
        BadInput: PyTorch cannot convert the architecture, ONNX Runtime cannot run it, or the answers differ by more
            than the tolerance.
    """
    films, writer = _films(model.inference_size), None
    for fold, net in load_nets(model, weights, "cpu"):
        if half:
            net.half().float()
        whole = WholeNet(net, model)
        writer = writer or OnnxWriter(whole, name)
        file = to / f"{name}-fold-{fold}{SUFFIX}"
        writer.write(file, half=half)
        try:
            given = OnnxNet(file, torch.get_num_threads())(films)
        except FAILURES as error:
            raise BadInput(
                f"The model {name} cannot be exported as ONNX: ONNX Runtime cannot run {architecture(model)} "
                f"({error}). Leave out --onnx."
            ) from error
        with torch.no_grad():
            deviation = _deviation(f"{name}-fold-{fold}", given, whole(torch.from_numpy(films)).numpy())
        if not deviation.accepted:
            raise BadInput(
                f"The model {name} cannot be exported as ONNX: {architecture(model)} then answers differently "
                f"({deviation}; accepted are {PROBABILITIES:.0e} and {PIXELS} px). Leave out --onnx."
            )
        yield deviation


def _deviation(net: str, given: NDArray[np.floating], expected: NDArray[np.floating]) -> Deviation:
    if given.ndim == 2:
        return Deviation(net, float(np.abs(given - expected).max()), None)
    difference = np.abs(given - expected).max((0, 2))
    return Deviation(net, float(difference[4]), float(difference[:4].max()))


def _films(size: int) -> NDArray[np.uint8]:
    """Return a few synthetic films (B, 1, S, S)."""
    squares = []
    phantom = Phantom(patients=CHECKED, seed=0)
    for study in make_studies(phantom)[:CHECKED]:
        pixels = draw_film(study, 0, phantom.size, 0, random_generator(phantom.seed, study.number)).pixels
        grey = np.rint(pixels.clip(0, 1) * 255).astype(np.uint8)
        squares.append(Letterbox(grey.shape[1], grey.shape[0], size).apply(grey))
    return np.stack(squares)[:, None]
