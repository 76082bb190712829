"""Runs the nets of an export with ONNX Runtime."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from jobs.contract.experiment import Model
from jobs.nets.onnx.sessions import OnnxNet, predict_films
from jobs.tools.export import offline

SUFFIX: Final = ".onnx"


def main(export: Path, arguments: Sequence[str]) -> int:
    """Predict a test folder in the competition's layout and write the submission; return the exit code."""
    return offline.main(export, arguments, offline.Runtime(SUFFIX, _nets))


def _nets(model: Model, weights: Mapping[int, Path], threads: int) -> Iterator[tuple[int, offline.Predict]]:
    for fold, file in weights.items():
        yield fold, partial(predict_films, OnnxNet(file, threads), model)
