"""The command line, from the outside."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from jobs.contract.exits import BadInput, Exit
from workflows.cv import app

CV = Path(__file__).parents[3] / "workflows" / "cv.py"


def call(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_nothing_heavy_is_imported_before_it_is_needed():
    heavy = ("pydantic", "rich", "hera", "boto3", "yaml", "torch")
    code = f"import sys, workflows.cv; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_it_runs_as_a_script_from_anywhere_and_its_neighbours_shadow_nothing(tmp_path):
    done = subprocess.run([sys.executable, CV, "recipes"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "demo\tThe whole pipeline" in done.stdout


@pytest.mark.slow
def test_the_shell_completes_commands_and_recipes():
    def completed(words):
        asked = {"_CV.PY_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # as in an activated environment
        told = {**os.environ, "PATH": path, **asked}
        return subprocess.run([CV], env=told, capture_output=True, text=True, check=True).stdout.split()

    assert completed("cv.py rec") == ["recipes"]
    assert completed("cv.py run -e study-1") == [f"study-1{number}" for number in range(8)]


def test_recipes_are_lines_for_programs_and_json_on_demand():
    names = [one["name"] for one in json.loads(call("recipes", "--json").stdout)]
    assert names == sorted(names)
    assert {"demo", "final", "study-01", "study-17"} <= set(names)
    assert len(call("recipes").stdout.splitlines()) == len(names)


@pytest.mark.parametrize(
    "command",
    ["recipes", "lint", "submit", "resume", "status", "logs", "stop", "explain", "purge", "doctor", "runs"],
)
def test_what_a_program_may_want_to_know_is_there_as_json(command):
    assert "--json" in call(command, "--help").stdout


def test_render_prints_one_document_the_manifest_or_the_experiment():
    options = ["render", "-e", "demo", "--folds", "0,2", "--set", "classifiers.*.batch=4", "--run", "mine"]
    manifest, experiment = (yaml.safe_load(call(*options, *only).stdout) for only in ([], ["--only", "experiment"]))
    assert experiment["folds"]["run"] == [0, 2]
    assert experiment["classifiers"]["tiny"]["batch"] == 4
    assert manifest["kind"] == "Workflow"
    assert manifest["metadata"]["labels"]["cxrfold/run"] == "mine"


def test_lint_finds_nothing_in_the_demo_and_says_so():
    assert call("lint").exit_code == 0


def test_lint_of_a_mistake_exits_with_bad_input():
    found = call("lint", "--set", "classifiers.tiny.batch=1", "--json")
    assert found.exit_code == Exit.BAD_INPUT
    assert [one["code"] for one in json.loads(found.stdout)] == ["CXR101"]
    late = call("lint", "--set", "classifiers.tiny.backbone=resnet5O", "--set", "data.source=/no/films", "--json")
    assert [(one["code"], one["where"]) for one in json.loads(late.stdout)] == [
        ("CXR112", "classifiers.tiny.backbone"), ("CXR301", "data.source"),
    ]  # fmt: skip
    invalid = call("lint", "--set", "classifiers.tiny.bach=1", "--json")
    assert invalid.exit_code == Exit.BAD_INPUT
    assert [(one["level"], "did you mean batch?" in one["message"]) for one in json.loads(invalid.stdout)] == [
        ("error", True)
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "-e", "demmo"], "there is no experiment named demmo; did you mean demo"),
        (["run", "--data", "no/such/folder"], "--data no/such/folder: no such folder"),
        (["run", "--folds", "a"], "--folds a: write fold numbers"),
        (["run", "--predict", "phantom:patients=3,seed=1"], "--predict SOURCE and --from RUN need each other"),
        (["run", "-e", "study-6"], "did you mean study-06?"),
        (
            ["render", "--folds", "7"],
            "a mistake in the options:\n  --folds 7: folds: folds to run must be some of 0",
        ),
        (["lint", "--set", "data.source=phantom:patient=6"], "no key 'patient'; a phantom has patients, seed, size"),
        (["render", "--set", "clasifiers.tiny.batch=2"], "classifiers"),
    ],
)
def test_bad_input_is_a_sentence_that_names_the_remedy(arguments, said):
    result = call(*arguments)
    assert isinstance(result.exception, BadInput)
    assert said in str(result.exception)


def test_bad_input_ends_with_its_exit_code_and_no_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, CV, "run", "--data", "nowhere"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == Exit.BAD_INPUT
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
