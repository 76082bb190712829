"""The manifests that ship as examples. CXRFOLD_REGENERATE=1 pytest tests/workflows/manifest/test_golden.py writes them.

They hold what a cluster gets, whole: also the order in an annotation and in prepare's variable.
"""

import os
from pathlib import Path

import pytest
import yaml

from jobs.contract.profile import Profile
from workflows.manifest.dag import manifest, to_yaml
from workflows.manifest.spec import RunSpec, TestSet
from workflows.settings.files import load_experiment, load_profile

GOLDEN = Path(__file__).parents[2] / "golden"
ROUNDS = [
    "classifiers.tiny.weights=run:wide/tiny",
    "ensemble.min_folds=4",
    "data.extra=[{source: s3://films/more, labels: {run: teacher, keep: 0.5, boxes: {above: 0.3, below: 0.05}}},"
    " {source: s3://films/labelled, patients: patients.csv}]",
]
CASES = {
    "demo": ("demo", "kit", [], None),
    "final-on-prem": ("final", "on-prem", ["ensemble.min_folds=4"], None),
    "predict-spot": ("final", "spot", [], TestSet(source="s3://films/test", from_run="final-0123abcd", overlap="drop")),
    "rounds": ("demo", "kit", ROUNDS, None),
}


def spec_of(name: str) -> RunSpec:
    experiment, profile, overrides, test_set = CASES[name]
    return RunSpec.of(
        load_experiment(experiment, overrides), load_profile(profile), revision="0123abcd", run=name, test_set=test_set
    )


@pytest.mark.parametrize("name", CASES)
def test_a_manifest_is_the_golden_one(name: str) -> None:
    text = to_yaml(manifest(spec_of(name)))
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("CXRFOLD_REGENERATE"):
        file.write_text(text, encoding="utf-8")
    assert yaml.safe_load(text) == yaml.safe_load(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", CASES)
def test_a_golden_manifest_builds_itself_again(name: str) -> None:
    golden = yaml.safe_load((GOLDEN / f"{name}.yaml").read_text(encoding="utf-8"))
    named = {**golden, "metadata": {**golden["metadata"], "name": f"{name}-1"}}
    assert manifest(RunSpec.of_workflow(named)) == golden


def test_eight_models_on_five_folds_stay_small() -> None:
    models = [f"classifiers.m{i}={{backbone: tf_efficientnet_b3}}" for i in range(4)]
    models += [f"detectors.d{i}={{epochs: {i + 5}}}" for i in range(2)]
    text = to_yaml(manifest(RunSpec.of(load_experiment("demo", models), Profile(), revision="0123abcd")))
    assert text.count("fold-4\n") >= 8
    assert len(text) < 512 * 1024


def test_a_printed_experiment_can_be_read_back(tmp_path: Path) -> None:
    experiment = load_experiment("final")
    file = tmp_path / "again.yaml"
    file.write_text(to_yaml(experiment.model_dump(mode="json")), encoding="utf-8")
    assert load_experiment(file) == experiment
