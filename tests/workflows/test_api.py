"""The functions for a notebook, and the page that shows them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.contract.exits import BadInput, Exit
from jobs.contract.experiment import Experiment
from jobs.contract.stored import layout
from workflows import api
from workflows.local import execute as local

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_page_runs_from_top_to_bottom(tmp_path):
    page = (ROOT / "workflows" / "api.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    (tmp_path / "page.py").write_text("\n".join(blocks))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CXRFOLD_"))}
    environment = {**kept, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT), "KUBECONFIG": "/none"}
    ran = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "evaluate succeeded map6" in ran.stdout
    assert "id,PredictionString" in ran.stdout
    assert "sise" in ran.stdout.splitlines()[-1]


@pytest.fixture
def stored(s3_store, tmp_path, monkeypatch):
    """A run whose experiment alone is stored."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", "/none")
    monkeypatch.delenv("ARGO_SERVER", raising=False)
    experiment = Experiment.model_validate({"name": "x", "classifiers": {"b": {}}})
    s3_store.put(layout.run_experiment("r"), experiment.model_dump_json().encode())
    return s3_store


def test_results_are_downloaded_and_a_run_without_any_is_refused(stored, tmp_path):
    with pytest.raises(BadInput, match="Run r has no results yet"):
        api.results("r")
    with pytest.raises(BadInput, match="Run q does not exist"):
        api.results("q")
    metrics = {
        "headline": {"figure": "map4", "score": 0.5},
        "figures": {"map4": {"interval": {"low": 0.4, "high": 0.6}}},
    }
    stored.put(layout.report("r", "metrics.json"), json.dumps(metrics).encode())
    found = api.results("r", to=tmp_path / "here")
    assert (found.figure, found.score, found.interval) == ("map4", 0.5, (0.4, 0.6))
    assert found.files == {"metrics.json": tmp_path / "here" / "metrics.json"}
    stored.delete([layout.report("r", "metrics.json")])
    stored.put(layout.report("r", "submission.csv"), b"id,PredictionString")
    predicted = api.results("r", to=tmp_path / "there")
    assert (predicted.figure, predicted.score, predicted.interval) == (None, None, None)


def test_a_run_that_fails_raises_its_exit_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "execute", lambda *_: Exit.BAD_INPUT)
    with pytest.raises(api.RunFailed, match="exit code 78") as failed:
        api.run("demo")
    assert failed.value.exit is Exit.BAD_INPUT
