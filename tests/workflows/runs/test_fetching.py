import hashlib
import io
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

from jobs.contract.exits import BadInput, Damaged
from jobs.contract.experiment import Classifier, Experiment
from jobs.contract.experiment.tracker import TrackerName
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Cost, Done, Output, Reference
from jobs.contract.task import TaskId
from jobs.runtime.store import Store
from workflows.runs.fetching import fetch
from workflows.runs.run import Run
from workflows.runs.tracker_files import how_to_open

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


def put_archive(store: Store, task: TaskId, attempt: int, name: str) -> None:
    """Store an archive of one file and one link, as trackers leave it."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo(f"{task.name}/{name}"))
        link = tarfile.TarInfo("latest")
        link.type, link.linkname = tarfile.SYMTYPE, "/scratch/log"
        tar.addfile(link)
    started = NOW + timedelta(hours=attempt)
    store.put(layout.tracker(layout.attempt("tiny", task, started, attempt)), held.getvalue())


def test_the_trackers_files_of_each_tasks_latest_attempt_lie_in_one_folder(run: Run, tmp_path: Path) -> None:
    other = TaskId(TASK.stage, "b3", 1)
    put_archive(run.store, TASK, 0, "first")
    put_archive(run.store, other, 0, "only")
    fetch(run, tmp_path, lambda _: None)
    put_archive(run.store, TASK, 1, "second")
    fetch(run, tmp_path, lambda _: None)
    files = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "tracker").rglob("*") if path.is_file()}
    assert files == {"tracker/b3-fold-0/second", "tracker/b3-fold-1/only"}


def test_each_tracker_has_its_command_and_only_where_there_are_files(tmp_path: Path) -> None:
    experiment = Experiment(name="tiny", classifiers={"b3": Classifier()})
    tracked = [experiment.model_copy(update={"tracker": name}) for name in get_args(TrackerName)]
    assert {how_to_open(each, tmp_path) for each in tracked} == {None}
    (tmp_path / "tracker").mkdir()
    commands = [how_to_open(each, tmp_path) for each in tracked if each.tracker != "none"]
    assert all(f"{tmp_path}/tracker" in command for command in commands)
    assert how_to_open(experiment, tmp_path) is None


def test_a_damaged_archive_is_named(run: Run, tmp_path: Path) -> None:
    run.store.put(layout.tracker(layout.attempt("tiny", TASK, NOW, 0)), b"damaged")
    with pytest.raises(Damaged, match="attempt-0-tracker"):
        fetch(run, tmp_path, lambda _: None)
