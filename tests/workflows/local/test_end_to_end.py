"""The whole pipeline by ``cv.py run`` on a few synthetic films: real stages, a real S3 server, real kills."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.contract import environment
from jobs.films.phantom.files import write_phantom
from jobs.runtime.store import Store
from jobs.tools.score import score_files
from workflows.store.embedded import embedded_s3

pytestmark = pytest.mark.slow

CV = Path(__file__).parents[3] / "workflows" / "cv.py"
ARGUMENTS = ["run", "-e", "demo", "--smoke", "--folds", "0", "--run", "r"]


def settings(folder):
    """A user with a cache folder of their own and no store."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CXRFOLD_"))}
    return kept | {"XDG_CACHE_HOME": str(folder / "cache")}


def command(folder, *arguments):
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, CV, *arguments], cwd=folder, env=settings(folder), capture_output=True, text=True, check=False
    )


def trainings(folder, monkeypatch):
    """Keys and times of all finished trainings and predictions in the folder's store."""
    with embedded_s3(folder / "cache" / "cxrfold" / "s3") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        store = Store.from_environment()
        assert store.url == server.environment()[environment.STORE]
        done = [entry for entry in store.list("work/train-") if entry.key.endswith("/DONE.json")]
        return {entry.key: entry.modified for entry in done}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a finished run."""
    folder = tmp_path_factory.mktemp("finished")
    done = command(folder, *ARGUMENTS)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_run_leaves_score_report_and_submission(finished):
    results = finished / "runs" / "r"
    metrics = json.loads((results / "metrics.json").read_text())
    assert 0 <= metrics["headline"]["score"] <= 1
    assert (results / "report.html").stat().st_size > 10_000
    assert (results / "submission.csv").read_text().startswith("id,PredictionString\n")


def test_the_store_tells_of_a_finished_run_whoever_asks(finished):
    listed = json.loads(command(finished, "runs", "--json").stdout)
    assert [(one["run"], one["done"], one["tasks"]) for one in listed] == [("r", 5, 5)]
    rows = json.loads(command(finished, "status", "r", "--json").stdout)["tasks"]
    assert {row["state"] for row in rows} == {"succeeded"}
    assert "map4" in command(finished, "logs", "r", "-s", "train-classifier").stdout


def test_a_change_to_ensemble_or_inference_trains_nothing_anew(finished, monkeypatch):
    before = trainings(finished, monkeypatch)
    changed = ["--set", "ensemble.none.boxes=0.9", "--set", "classifiers.tiny.inference.tta=flip"]
    done = command(finished, *ARGUMENTS[:-1], "changed", *changed)
    assert done.returncode == 0, done.stdout + done.stderr
    after = trainings(finished, monkeypatch)
    assert {key: after[key] for key in before} == before
    assert len(after) == len(before) + 1  # the classifier's predictions, made in another way


def test_a_test_set_without_labels_is_predicted_with_the_weights_of_a_run(finished, capsys):
    predict = ["run", "--predict", "phantom:patients=6,seed=9", "--from", "r", "--run", "p"]
    done = command(finished, *predict)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "for the competition's films" in done.stdout
    log = command(finished, "logs", "p", "-s", "predict").stdout
    assert len(re.findall(r"1 net would take [\d.]+ h of the allowed 9 h for the competition's 1,263 films", log)) == 2
    write_phantom(finished / "labels", patients=6, seed=9)  # the same films, now with their labels
    score_files(finished / "runs" / "p" / "submission.csv", finished / "labels", as_json=True)
    scored = json.loads(capsys.readouterr().out)
    assert (scored["films"], scored["studies"]) == (9, 9)
    assert 0 <= scored["figures"]["map4"]["score"] <= 1


def test_predict_and_an_export_give_the_numbers_of_a_predicting_run(finished):
    done = command(
        finished, "run", "--predict", "phantom:patients=6,seed=8", "--from", "r", "--run", "p8", "--jobs", "1"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    submission = (finished / "runs" / "p8" / "submission.csv").read_bytes()
    rows = dict(line.split(",") for line in submission.decode().splitlines()[1:])
    write_phantom(finished / "films", patients=6, seed=8, test=True)
    (finished / "no-film.dcm").write_text("not DICOM")
    predicted = command(finished, "predict", "films", "no-film.dcm", "--from", "r", "--json")
    assert (predicted.returncode, "no-film.dcm is not a DICOM file" in predicted.stderr) == (78, True)
    answers = json.loads(predicted.stdout)
    assert len(answers) == 9
    for answer in answers:
        assert (finished / answer["picture"]).is_file()
        none = float(rows[f"{Path(answer['film']).stem}_image"].split()[1])
        words = rows[f"{answer['study']}_study"].split()
        classes = dict(zip(words[::6], map(float, words[1::6]), strict=True))
        assert answer["none"]["probability"] == pytest.approx(none, rel=1e-5)
        assert {name: spread["probability"] for name, spread in answer["classes"].items()} == pytest.approx(
            classes, rel=1e-5
        )
    exported = command(finished, "export", "r", "--to", "export")
    assert exported.returncode == 0, exported.stderr
    offline = [sys.executable, "export/predict.py", "films", "out.csv"]
    for _ in range(2):  # the second call resumes with every net done
        said = subprocess.run(
            offline, cwd=finished, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
        )
        assert said.returncode == 0, said.stdout + said.stderr
        assert (finished / "out.csv").read_bytes() == submission
    assert "2 of 2 nets are done" in said.stdout


def test_an_export_as_onnx_answers_as_the_one_with_torch_where_torch_is_missing(finished):
    write_phantom(finished / "few", patients=4, seed=8, test=True)
    missing = finished / "missing"
    missing.mkdir()
    for name in ("torch", "torchvision", "timm", "ultralytics", "safetensors"):
        (missing / f"{name}.py").write_text("raise ImportError('not installed here')")
    answers = {}
    for kind, options, hidden in (("plain", [], {}), ("onnx", ["--onnx"], {"PYTHONPATH": str(missing)})):
        exported = command(finished, "export", "r", "--to", kind, *options)
        assert exported.returncode == 0, exported.stderr
        said = subprocess.run(
            [sys.executable, f"{kind}/predict.py", "few", f"{kind}.csv"], cwd=finished,
            env={"PATH": os.environ["PATH"], **hidden}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert said.returncode == 0, said.stdout + said.stderr
        rows = (line.split(",") for line in (finished / f"{kind}.csv").read_text().splitlines()[1:])
        answers[kind] = {name: [float(word) for word in re.findall(r"(?<=[a-z] )[\d.]+", text)] for name, text in rows}
    assert "yolo-fold-0: probabilities differ by at most" in exported.stdout
    assert answers["plain"].keys() == answers["onnx"].keys()
    for name, numbers in answers["plain"].items():
        assert answers["onnx"][name][:4] == pytest.approx(numbers[:4], abs=1e-5)  # the rest may be near ties


def test_a_run_killed_again_and_again_ends_with_the_same_submission(finished, tmp_path):
    chance = random.Random(time.time_ns())
    for moment in ("prepare: decoding", "tiny-fold-0: training", "yolo-fold-0: "):
        with subprocess.Popen(
            [sys.executable, CV, *ARGUMENTS], cwd=tmp_path, env=settings(tmp_path), stdout=subprocess.PIPE, text=True
        ) as run:
            while (line := run.stdout.readline()) and moment not in line:
                pass
            time.sleep(chance.uniform(0, 4))
            run.send_signal(signal.SIGKILL)
    done = command(tmp_path, *ARGUMENTS)
    assert done.returncode == 0, done.stdout + done.stderr
    submissions = [(folder / "runs" / "r" / "submission.csv").read_bytes() for folder in (finished, tmp_path)]
    assert submissions[0] == submissions[1]


def test_ctrl_c_stops_gracefully_and_says_so(tmp_path):
    with subprocess.Popen(
        [sys.executable, CV, *ARGUMENTS], cwd=tmp_path, env=settings(tmp_path), stdout=subprocess.PIPE, text=True
    ) as run:
        while (line := run.stdout.readline()) and not re.search("prepare: (decoding|reading)", line):
            pass
        run.send_signal(signal.SIGINT)
        said = run.stdout.read()
    assert run.returncode in (75, 0)
    assert "r: interrupted; the same command continues the run." in said or "submission" in said
