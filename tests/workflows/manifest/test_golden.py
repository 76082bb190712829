"""The manifests that ship as examples. CXRFOLD_REGENERATE=1 pytest tests/workflows/test_golden.py writes them anew."""

import os
from pathlib import Path

import pytest
import yaml
from workflows.files import load_experiment, load_profile
from workflows.plan import Predict
from workflows.render import render

from jobs.contract.profile import Profile

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = {
    "demo": ("demo", "kit", [], None),
    "final-on-prem": ("final", "on-prem", ["ensemble.min_folds=4"], None),
    "predict-spot": ("final", "spot", [], Predict("s3://films/test", "final-0123abcd")),
}


@pytest.mark.parametrize("name", CASES)
def test_a_manifest_is_the_golden_one(name):
    experiment, profile, overrides, predict = CASES[name]
    loaded = load_experiment(experiment, overrides)
    rendered = render(loaded, load_profile(profile), name, predict=predict, revision="0123abcd").manifest
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("CXRFOLD_REGENERATE"):
        file.write_text(rendered, encoding="utf-8")
    assert yaml.safe_load(rendered) == yaml.safe_load(file.read_text(encoding="utf-8"))


def test_eight_models_on_five_folds_stay_small():
    models = [f"classifiers.m{i}={{backbone: tf_efficientnet_b3}}" for i in range(4)]
    models += [f"detectors.d{i}={{epochs: {i + 5}}}" for i in range(2)]
    rendered = render(load_experiment("demo", models), Profile(), revision="0123abcd")
    assert rendered.manifest.count("fold-4\n") >= 8
    assert len(rendered.manifest) < 512 * 1024


def test_the_resolved_experiment_can_be_read_back(tmp_path):
    experiment = load_experiment("final")
    file = tmp_path / "again.yaml"
    file.write_text(render(experiment, Profile(), revision="0123abcd").experiment, encoding="utf-8")
    assert load_experiment(file) == experiment
