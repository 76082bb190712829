"""A small part of the campaign: no injected fault loses data, changes a result, hangs or gives an unclear message."""

import os
import subprocess
import sys

import pytest

from tests.soak.processes import ROOT


@pytest.mark.slow
def test_a_small_campaign_loses_nothing():
    command = [sys.executable, "-m", "tests.soak", "kills", "store", "films", "texts", "--scale", "0.01", "--seed", "1"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CXRFOLD_"))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
