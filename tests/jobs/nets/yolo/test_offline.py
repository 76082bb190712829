import os
import subprocess
import sys
from pathlib import Path

import pytest

# A process of its own, so that the sockets are watched before ultralytics is imported.
SCRIPT = """
import socket, sys
from pathlib import Path

attempts = []

def denied(name):
    def call(*args, **kwargs):
        attempts.append((name, args))
        raise OSError(f"the network was tried: {name} {args}")
    return call

connect = socket.socket.connect
socket.socket.connect = lambda self, address: (
    connect(self, address) if self.family == socket.AF_UNIX else denied("connect")(address)
)
for name in ("getaddrinfo", "gethostbyname", "create_connection"):
    setattr(socket, name, denied(name))

import numpy as np
from tests.jobs.nets.yolo.films import TINY, write_films
from tests.jobs.nets.yolo.lab import training

folder = Path(sys.argv[1])
dataset = write_films(folder)
training(dataset, TINY.model_copy(update={"epochs": 2}), folder).train()

from ultralytics.utils import SETTINGS, SETTINGS_FILE
services = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
assert not any(SETTINGS[name] for name in services), SETTINGS
assert str(SETTINGS_FILE).startswith(str(folder / "scratch")), SETTINGS_FILE
assert attempts == [], attempts

from jobs.tools.weights import add
from jobs.contract.exits import ServiceAway
try:
    add("yolov8n")
except ServiceAway as away:
    assert "needs the internet" in str(away), away
assert attempts, "downloading weights is the one thing that may try"
"""


@pytest.mark.slow
def test_training_makes_no_attempt_at_the_network(tmp_path: Path):
    environment = {
        **os.environ, "CXRFOLD_SCRATCH": str(tmp_path / "scratch"), "PYTHONPATH": ":".join(sys.path),
        "CXRFOLD_STORE": "s3://nowhere", "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr[-3000:]
    assert not list((tmp_path / "scratch").glob("ultralytics-*")), "the settings outlived the process"
