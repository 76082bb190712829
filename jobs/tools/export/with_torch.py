"""Runs the nets of an export with PyTorch."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import torch

from jobs.contract.experiment import Model
from jobs.nets.trained import load_nets, predict_films
from jobs.tools.export import offline

SUFFIX: Final = ".safetensors"


def main(export: Path, arguments: Sequence[str]) -> int:
    """Predict a test folder in the competition's layout and write the submission; return the exit code."""
    return offline.main(export, arguments, offline.Runtime(SUFFIX, _nets))


def _nets(model: Model, weights: Mapping[int, Path], threads: int) -> Iterator[tuple[int, offline.Predict]]:
    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for fold, net in load_nets(model, weights, device):
        yield fold, partial(predict_films, net, model, device)
