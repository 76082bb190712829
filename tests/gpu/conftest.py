"""Tests on a CUDA device (``make gpu-test``), skipped where there is none.

``CXRFOLD_GPU_TEST_DEVICE=cpu`` runs them on the CPU instead, to test the tests; what only a GPU has stays skipped.
"""

import os
from collections.abc import Iterator

import pytest
import torch

from jobs.films.dataset import Dataset
from jobs.nets.device.determinism import set_determinism
from tests.jobs.nets.classifier import films as classifier_films
from tests.jobs.nets.yolo import films as yolo_films


@pytest.fixture(scope="session")
def device() -> str:
    wanted = os.environ.get("CXRFOLD_GPU_TEST_DEVICE", "cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        pytest.skip("PyTorch finds no CUDA device")
    return wanted


@pytest.fixture
def cuda(device: str) -> str:
    if device != "cuda":
        pytest.skip("only a GPU has it")
    return device


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """What a test chose for the whole process is undone."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    set_determinism(False, "cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return classifier_films.write_films(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="session")
def box_films(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return yolo_films.write_films(tmp_path_factory.mktemp("box-films"))
