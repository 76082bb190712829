"""Recipes run whole, small: with the smoke overlay, one fold, on films and a store that they share.

`make recipes` runs all of them; the plain tests run one of each kind.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workflows.settings.recipes import names
from workflows.store.embedded import Server

ROOT = Path(__file__).parents[2]
# A joint head with its loss on films alone, a model of films with early stop, a detector.
EACH_KIND = ("study-11", "study-2class", "yolo-01")
FOLD = "0"  # one for all, so that what recipes share is trained once


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder where all recipes of this session run, so that films are prepared once."""
    return tmp_path_factory.mktemp("recipes")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in EACH_KIND else pytest.mark.recipes) for name in names()],
)
def test_a_recipe_runs_from_films_to_score(name: str, home: Path, s3_server: Server):
    environment = {**os.environ, **s3_server.environment(), "XDG_CACHE_HOME": str(home / "cache")}
    command = [sys.executable, str(ROOT / "workflows" / "cv.py"), "run", "-e", name, "--smoke", "--folds", FOLD]
    command += ["--run", name]
    ended = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    metrics = json.loads((home / "runs" / name / "metrics.json").read_text())
    assert metrics["experiment"] == name
    assert metrics["folds"] == [int(FOLD)]
    assert 0 <= metrics["headline"]["score"] <= 1
    assert (home / "runs" / name / "report.html").stat().st_size > 10_000
