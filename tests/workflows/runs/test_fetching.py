import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.contract import layout
from jobs.contract.exits import BadInput
from jobs.contract.experiment import Classifier, Experiment
from jobs.contract.names import Stage
from jobs.contract.records import Cost, Done, Output, Reference
from jobs.contract.task import TaskId
from jobs.runtime.store import Store
from workflows.runs.fetching import fetch
from workflows.runs.run import Run

NOW = datetime(2026, 11, 28, tzinfo=UTC)
TASK = TaskId(Stage.TRAIN_CLASSIFIER, "b3", 0)


@pytest.fixture
def run(s3_store: Store) -> Run:
    """A run with a report, and with the weights of its first fold."""
    experiment = Experiment(name="tiny", classifiers={"b3": Classifier()})
    s3_store.put(layout.run_experiment("tiny"), experiment.model_dump_json().encode())
    s3_store.put(layout.report("tiny", "report.html"), b"<html>")
    data = b"weights"
    prefix, sha256 = layout.work(TASK.stage, "1" * 64), hashlib.sha256(data).hexdigest()
    output = Output(key=layout.output(prefix, sha256, "best.safetensors"), sha256=sha256, size=len(data))
    s3_store.put(output.key, data)
    done = Done(
        stage=TASK.stage, kind="weights", digest="1" * 64, inputs={}, outputs={"best.safetensors": output}, scores={},
        cost=Cost(seconds=1, peak_memory=1), revision="v1", versions={}, created=NOW,
    )  # fmt: skip
    s3_store.put_json(layout.done(prefix), done.model_dump(mode="json"))
    reference = Reference(
        run="tiny",
        stage=TASK.stage,
        model="b3",
        fold=0,
        works={"weights": done.digest},
        scores={},
        attempt=0,
        created=NOW,
    )
    s3_store.put_json(layout.reference("tiny", TASK), reference.model_dump(mode="json"))
    run = Run("tiny", None, None, [])
    run.__dict__["store"], run.__dict__["spec"] = s3_store, None
    return run


def test_a_runs_report_and_weights_become_plain_files(run: Run, tmp_path: Path) -> None:
    downloaded: list[str] = []
    files = fetch(run, tmp_path, downloaded.append)
    assert {file.relative_to(tmp_path).as_posix() for file in files} == {
        "experiment.json",
        "report.html",
        "train-classifier/b3/fold-0/best.safetensors",
    }
    assert (tmp_path / "train-classifier/b3/fold-0/best.safetensors").read_bytes() == b"weights"
    assert len(downloaded) == 3


def test_weights_that_are_there_already_are_not_fetched_again_unless_they_differ(run: Run, tmp_path: Path) -> None:
    fetch(run, tmp_path, lambda _: None)
    again: list[str] = []
    fetch(run, tmp_path, again.append)
    assert not any("safetensors" in line for line in again)
    (tmp_path / "train-classifier/b3/fold-0/best.safetensors").write_bytes(b"changed")
    fetch(run, tmp_path, again.append)
    assert any("safetensors" in line for line in again)
    assert (tmp_path / "train-classifier/b3/fold-0/best.safetensors").read_bytes() == b"weights"


def test_a_run_without_results_is_refused(s3_store: Store, tmp_path: Path) -> None:
    run = Run("none", None, None, [])
    run.__dict__["store"], run.__dict__["spec"], run.__dict__["tasks"] = s3_store, None, []
    with pytest.raises(BadInput, match="no results"):
        fetch(run, tmp_path, lambda _: None)
