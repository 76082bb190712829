"""Learning curves on their way to each tracker's real library."""

import json
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs.contract import environment
from jobs.contract.exits import Exit
from jobs.contract.experiment import Classifier, Experiment
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.task import TaskId
from jobs.runtime.context import Context
from jobs.runtime.stage import run_stage
from jobs.runtime.store import Store
from jobs.runtime.telemetry.trackers import thread
from jobs.runtime.telemetry.trackers.tracker import TrackedTask
from workflows.runs.tracker_files import FOLDER, unpack

EXPERIMENT = Experiment(name="tiny", classifiers={"net": Classifier()})
TASK = TaskId(Stage.TRAIN_CLASSIFIER, "net", 2)
CURVE = [{"epoch": n, "val_loss": 1 / (n + 1), "val_score": n / 4, "train_score": None} for n in range(3)]
STEPS = [(1, 0.0), (2, 0.25), (3, 0.5)]

Body = Callable[[Context], dict[str, float]]
Attempt = Callable[[str, Body], Exit]


@pytest.fixture
def attempt(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Attempt:
    """Run a body as an attempt at a training whose experiment names a tracker."""
    monkeypatch.setenv(environment.RUN, "r")
    for name in ("WANDB_MODE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)

    def run(tracker: str, body: Body) -> Exit:
        tracked = EXPERIMENT.model_copy(update={"tracker": tracker})
        assert tracked.hash == EXPERIMENT.hash
        monkeypatch.setenv(environment.EXPERIMENT, tracked.model_dump_json())
        monkeypatch.setitem(sys.modules, "jobs.train_classifier", SimpleNamespace(run=body))
        return run_stage(TASK)

    return run


def resumed(context: Context) -> dict[str, float]:
    """Go on after an epoch, train the second once more than it is stored, and end with the curve of the whole work."""
    context.progress.earlier_epochs(CURVE[:1])
    for row in CURVE[1:]:
        context.progress.epoch(row["epoch"] + 1, best=row["val_score"], val_score=row["val_score"])
    context.progress.earlier_epochs(CURVE)
    return {}


def logged(store: Store) -> str:
    [key] = [entry.key for entry in store.list(layout.run("r")) if entry.key.endswith(".log")]
    return "\n".join(json.loads(line)["text"] for line in store.get(key).splitlines())


def unpacked(store: Store, folder: Path) -> Path:
    [key] = layout.latest_trackers(entry.key for entry in store.list(layout.run("r")))
    archive = folder / "archive.tar.gz"
    archive.write_bytes(store.get(key))
    unpack([archive], folder)
    return folder / FOLDER


def tensorboard_scores(folder: Path) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "net-fold-2"))
    events.Reload()
    return [(scalar.step, scalar.value) for scalar in events.Scalars("val_score")]


def mlflow_scores(folder: Path) -> list[tuple[int, float]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(folder.as_uri())
    [run] = client.search_runs(["0"])
    assert run.data.tags["cxrfold.task"] == "net-fold-2"
    assert run.data.params["classifiers.net.loss"] == EXPERIMENT.classifiers["net"].loss
    return [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, "val_score")]


def wandb_scores(folder: Path) -> list[tuple[int, float]]:
    """Read wandb's file, which has LevelDB's log format: a header, then records that each fit into one block here."""
    from wandb.proto.wandb_internal_pb2 import Record

    [file] = folder.glob("wandb/offline-run-*/*.wandb")
    data, at, rows = file.read_bytes(), 7, []
    assert len(data) < 32768
    while at < len(data):
        _, size, whole = struct.unpack_from("<IHB", data, at)
        assert whole == 1
        record = Record.FromString(data[at + 7 : at + 7 + size])
        at += 7 + size
        if record.HasField("history"):
            items = {item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            rows.append((record.history.step.num, items["val_score"]))
    return rows


READ = {"tensorboard": tensorboard_scores, "mlflow": mlflow_scores, "wandb": wandb_scores}


@pytest.mark.slow
@pytest.mark.parametrize("tracker", READ)
def test_a_resumed_training_leaves_a_whole_curve_that_the_trackers_own_reader_reads(
    tracker: str, attempt: Attempt, s3_store: Store, tmp_path: Path
) -> None:
    assert attempt(tracker, resumed) is Exit.DONE
    assert READ[tracker](unpacked(s3_store, tmp_path)) == STEPS


@pytest.mark.slow
def test_two_attempts_are_one_run_of_an_mlflow_server(
    attempt: Attempt, s3_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed_early(context: Context) -> dict[str, float]:
        context.progress.earlier_epochs(CURVE[:2])
        return {}

    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "server").as_uri())
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "Default")
    assert attempt("mlflow", killed_early) is attempt("mlflow", resumed) is Exit.DONE
    assert mlflow_scores(tmp_path / "server") == STEPS
    assert layout.latest_trackers(entry.key for entry in s3_store.list(layout.run("r"))) == set()


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.slow
def test_a_tracker_that_hangs_is_left_behind(
    attempt: Attempt, s3_store: Store, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", silent)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(thread, "FINISH_SECONDS", 0.1)
    assert attempt("mlflow", resumed) is Exit.DONE
    assert "mlflow did not end" in logged(s3_store)


class Failing:
    """A tracker whose run begins, fails once in the second epoch, and then goes on."""

    def __init__(self, tracked: TrackedTask) -> None:
        self.epochs: list[int] = []
        tracked.folder.mkdir()
        self.file = tracked.folder / "epochs"

    def log(self, epoch: int, figures: dict[str, float]) -> None:
        self.epochs.append(epoch)
        if self.epochs == [1, 2]:
            raise OSError("no route to host")
        self.file.write_text(f"{self.epochs}")

    def finish(self) -> None:
        pass


def test_a_tracker_that_fails_is_logged_and_tried_again_with_the_next_epoch(
    attempt: Attempt, s3_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "tracker_class", lambda _: Failing)
    assert attempt("tensorboard", resumed) is Exit.DONE
    assert "tensorboard failed: no route to host" in logged(s3_store)
    assert (unpacked(s3_store, tmp_path) / "epochs").read_text() == "[1, 2, 2, 3]"


def test_a_library_that_cannot_be_imported_is_logged(
    attempt: Attempt, s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jobs.runtime.telemetry.trackers.event_file", None)
    assert attempt("tensorboard", resumed) is Exit.DONE
    assert "tensorboard cannot be imported" in logged(s3_store)


def test_only_the_tasks_own_training_is_tracked(attempt: Attempt, s3_store: Store, tmp_path: Path) -> None:
    def body(context: Context) -> dict[str, float]:
        with context.progress.aside():
            context.progress.epoch(1, best=0.9, val_score=0.9)
        assert context.progress.beat.best is None
        with context.progress.part("candidate", 1, 1, None):
            context.progress.epoch(1, best=0.8, val_score=0.8)
        context.progress.earlier_epochs(CURVE)
        return {}

    assert attempt("tensorboard", body) is Exit.DONE
    assert tensorboard_scores(unpacked(s3_store, tmp_path)) == STEPS


def test_a_training_without_epochs_leaves_no_archive(attempt: Attempt, s3_store: Store) -> None:
    assert attempt("wandb", lambda context: {}) is Exit.DONE
    assert layout.latest_trackers(entry.key for entry in s3_store.list(layout.run("r"))) == set()


def test_a_tracker_that_is_not_installed_is_bad_input(
    attempt: Attempt, s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert attempt("mlflow", resumed) is Exit.BAD_INPUT
    assert "pip install cxrfold[mlflow]" in logged(s3_store)
