import errno
import itertools
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from safetensors import SafetensorError

from jobs.contract import environment
from jobs.contract.exits import BadInput, Exit, ServiceAway, Stopped
from jobs.contract.experiment import Classifier, Experiment
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Heartbeat
from jobs.contract.task import TaskId
from jobs.runtime.context import Context
from jobs.runtime.stage import run_stage
from jobs.runtime.store import Missing, Store

EXPERIMENT = Experiment(name="tiny", classifiers={"net": Classifier()})
NET_2 = TaskId(Stage.TRAIN_CLASSIFIER, "net", 2)

Body = Callable[[Context], dict[str, float]]


@pytest.fixture
def stage(s3_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Body], Exit]:
    """Run a body as the stage train-classifier net fold 2 of a run."""
    monkeypatch.setenv(environment.RUN, "tiny-run")
    monkeypatch.setenv(environment.EXPERIMENT, EXPERIMENT.model_dump_json())
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    monkeypatch.setenv(environment.OUTPUTS, str(outputs))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def run(body: Body) -> Exit:
        monkeypatch.setitem(sys.modules, "jobs.train_classifier", SimpleNamespace(run=body))
        return run_stage(NET_2)

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def heartbeat(store: Store) -> Heartbeat:
    return Heartbeat.model_validate(store.get_json(layout.heartbeat("tiny-run", NET_2)))


def stored_log(store: Store) -> list[dict[str, str]]:
    return [json.loads(line) for line in store.get(left(store, ".log")).splitlines()]


def left(store: Store, ending: str) -> str:
    """The key of what the one attempt left."""
    [key] = [entry.key for entry in store.list("runs/") if entry.key.endswith(f"-attempt-0{ending}")]
    return key


def test_a_stage_that_ends_well_leaves_score_heartbeat_log_and_experiment(stage, s3_store: Store, tmp_path: Path):
    def body(context: Context) -> dict[str, float]:
        context.progress.phase("training", steps=4, epochs=2)
        for step in range(4):
            context.progress.step(films=8, loss=1.0 / (step + 1))
        context.progress.epoch(2, best=0.5, val_loss=0.25)
        return {"map4": 0.5}

    assert stage(body) is Exit.DONE
    assert (tmp_path / "outputs" / "score").read_text() == "map4 0.5000"
    beat = heartbeat(s3_store)
    assert (beat.phase, beat.exit_code, beat.step, beat.steps, beat.epoch, beat.best) == ("done", 0, 4, 4, 2.0, 0.5)
    texts = [line["text"] for line in stored_log(s3_store)]
    assert "epoch 2/2 val_loss 0.25 best 0.5" in texts
    assert texts[-1] == "done: map4 0.5000"
    stored = Experiment.model_validate_json(s3_store.get(layout.run_experiment("tiny-run")))
    assert stored == EXPERIMENT


@pytest.mark.parametrize(
    ("error", "code", "phase"),
    [
        (BadInput("labels.csv has no column id: add it"), 78, "failed"),
        (ServiceAway("S3 is away"), 69, "failed"),
        (Stopped("stored"), 75, "stopped"),
        (ZeroDivisionError("oops"), 70, "failed"),
    ],
)
def test_each_kind_of_end_has_its_exit_code_and_says_why(
    error: Exception, code: int, phase: str, stage, s3_store: Store
):
    def body(context: Context) -> dict[str, float]:
        raise error

    assert stage(body) == code
    beat = heartbeat(s3_store)
    assert (beat.exit_code, beat.phase) == (code, phase)
    assert str(error) in beat.message
    assert str(error) in stored_log(s3_store)[-1]["text"]


class Gateway(BaseHTTPRequestHandler):
    """Takes what is pushed."""

    pushed: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self) -> None:
        self.pushed.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_a_failure_that_is_not_retried_is_pushed_and_one_that_is_is_not(stage, monkeypatch: pytest.MonkeyPatch):
    def fail(error: Exception) -> Body:
        def body(context: Context) -> dict[str, float]:
            raise error

        return body

    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv(environment.PUSHGATEWAY, f"127.0.0.1:{server.server_address[1]}")
        assert stage(fail(Stopped("stored"))) is Exit.CHECKPOINTED
        assert not Gateway.pushed
        assert stage(fail(BadInput("no column id"))) is Exit.BAD_INPUT
        server.shutdown()
    path, text = Gateway.pushed.pop()
    assert path.startswith("/metrics/job/cxrfold/")
    assert {"experiment/tiny", "dataset/unknown"} <= {"/".join(pair) for pair in pairwise(path.split("/"))}
    assert b"cxrfold_run_failed 1.0" in text
    assert b"cxrfold_last_success" not in text


def test_a_bug_leaves_its_traceback_in_the_log(stage, s3_store: Store):
    assert stage(lambda context: {"x": 1 / 0}) is Exit.BUG
    assert "Traceback" in stored_log(s3_store)[-1]["text"]


def test_sigterm_becomes_a_wish_to_stop(stage):
    def body(context: Context) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            context.stop.check()
        raise AssertionError("the signal was not heard")

    assert stage(body) is Exit.CHECKPOINTED


@pytest.mark.slow
def test_a_missing_upstream_names_the_command(stage, s3_store: Store):
    assert stage(lambda context: context.upstream(TaskId(Stage.TRAIN_DETECTOR, "m", 3)) and {}) is Exit.BAD_INPUT
    assert "python -m jobs train-detector --model m --fold 3" in heartbeat(s3_store).message


def test_a_gpu_that_is_not_there_is_retried_on_another_node_unless_the_cpu_is_allowed(
    stage, s3_store: Store, monkeypatch: pytest.MonkeyPatch
):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.setenv(environment.GPUS, "1")
    assert stage(lambda context: context.device() and {}) is Exit.HARDWARE
    assert "gpu_node_selector" in heartbeat(s3_store).message
    monkeypatch.setenv(environment.ALLOW_CPU, "1")
    assert stage(lambda context: {"ok": float(context.device() == "cpu")}) is Exit.DONE


@pytest.mark.parametrize(("model", "fold", "says"), [("other", 2, "--model other"), ("net", 9, "--fold 9")])
def test_a_place_that_is_not_in_the_experiment_is_refused(
    model: str, fold: int, says: str, stage, capsys: pytest.CaptureFixture[str]
):
    assert run_stage(TaskId(Stage.TRAIN_CLASSIFIER, model, fold)) is Exit.BAD_INPUT
    assert says in capsys.readouterr().out


def test_a_run_without_experiment_is_refused(
    stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv(environment.EXPERIMENT)
    assert run_stage(TaskId(Stage.EVALUATE)) is Exit.BAD_INPUT
    assert environment.EXPERIMENT in capsys.readouterr().out


def test_argo_reads_progress_from_its_file(stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(environment.PROGRESS_FILE, str(tmp_path / "progress"))

    def body(context: Context) -> dict[str, float]:
        context.progress.phase("training", steps=3, start=1)
        context.progress.step()
        return {}

    assert stage(body) is Exit.DONE
    assert (tmp_path / "progress").read_text() == "2/3"


def test_one_training_of_several_bears_its_number_and_the_time_left_is_of_all(
    stage, s3_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(environment.PROGRESS_FILE, str(tmp_path / "progress"))
    seen = []

    def body(context: Context) -> dict[str, float]:
        with context.progress.part("candidate", 3, 4, best=0.4):
            context.progress.phase("training", steps=10, epochs=2)
            context.progress.step()
            seen.append(context.progress.beat)
            seen.append((tmp_path / "progress").read_text())
            context.progress.epoch(1, best=0.3)
        context.progress.phase("predicting", steps=2)
        seen.append(context.progress.beat)
        return {}

    seconds = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: float(next(seconds)), time=time.time)
    monkeypatch.setattr("jobs.runtime.telemetry.progress.time", clock)
    assert stage(body) is Exit.DONE
    candidate, argo, after = seen
    assert (candidate.phase, candidate.step, candidate.steps, candidate.best) == ("candidate 3/4", 1, 10, 0.4)
    assert candidate.eta == 19, "nine steps of this one and ten of the last, a second each"
    assert argo == "21/40"
    assert (after.phase, after.best) == ("predicting", 0.4), "a worse candidate is not the best so far"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/scratch/x"),
        OSError("With tag (7FE0,0010) got exception: [Errno 28] No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_no_bug_and_says_what_to_do(stage, s3_store: Store, error: Exception):
    def body(context: Context) -> dict[str, float]:
        raise error

    assert stage(body) is Exit.BAD_INPUT
    where = r"(/scratch/x: No space left on device|The disk is full: \d+ MiB are left in /.*)\. Make room there"
    assert re.search(where, heartbeat(s3_store).message)


@pytest.mark.parametrize(("code", "says"), [(errno.EROFS, "Read-only"), (errno.EACCES, "Permission denied")])
def test_a_folder_without_access_is_no_bug(stage, s3_store: Store, code: int, says: str):
    def body(context: Context) -> dict[str, float]:
        raise OSError(code, os.strerror(code), "/cache/x")

    assert stage(body) is Exit.BAD_INPUT
    assert heartbeat(s3_store).message.startswith(f"/cache/x: {says}")


def test_a_metrics_port_in_use_ends_no_training(stage, s3_store: Store, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv(environment.METRICS_PORT, str(server.getsockname()[1]))
        assert stage(lambda context: {}) is Exit.DONE
    assert "Metrics are not served on 127.0.0.1" in capsys.readouterr().out


def test_outputs_that_cannot_be_written_are_a_sentence(stage, s3_store: Store, tmp_path: Path):
    (tmp_path / "outputs" / "score").symlink_to(tmp_path / "nowhere" / "score")
    assert stage(lambda context: {}) is Exit.BAD_INPUT
    assert "score is a link to nothing" in heartbeat(s3_store).message


@pytest.mark.parametrize("variable", [environment.ATTEMPT, environment.GPUS, environment.THREADS])
def test_a_variable_that_is_no_number_is_named(variable: str, monkeypatch):
    monkeypatch.setenv(variable, "²")
    with pytest.raises(BadInput, match=f"{variable} is '²': set it to a number"):
        environment.number(variable)


def test_costs_count_every_attempt_until_one_succeeds(stage, s3_store):
    costs: list[float] = []

    def body(context: Context) -> dict[str, float]:
        costs.append(context.cost().seconds)
        return {}

    now = datetime.now(UTC)
    killed = Heartbeat(
        stage=NET_2.stage, model="net", fold=2, phase="training", attempt=1, at=now,
        started=now - timedelta(seconds=20), earlier=30,
    )  # fmt: skip
    s3_store.put(layout.heartbeat("tiny-run", NET_2), killed.model_dump_json().encode())
    stage(body)
    assert heartbeat(s3_store).earlier == 50
    stage(body)
    assert heartbeat(s3_store).earlier == 0
    assert costs[0] > 50 > costs[1]


def test_an_experiment_that_is_not_valid_is_refused_in_a_line(stage, monkeypatch, capsys):
    document = json.loads(EXPERIMENT.model_dump_json()) | {"folds": {"seed": 2**32}}
    monkeypatch.setenv(environment.EXPERIMENT, json.dumps(document))
    assert stage(lambda context: {}) is Exit.BAD_INPUT
    [line] = [line for line in capsys.readouterr().out.splitlines() if "ERROR" in line]
    assert "is not valid: folds.seed: Input should be less than 4294967296, not 4294967296. Submit" in line
    monkeypatch.setenv(environment.EXPERIMENT, "{")
    assert stage(lambda context: {}) is Exit.BAD_INPUT
    assert "is not valid: Invalid JSON" in capsys.readouterr().out


def test_prepare_of_another_experiment_leaves_nothing_of_the_run_before(stage, s3_store, monkeypatch):
    monkeypatch.setitem(sys.modules, "jobs.prepare", SimpleNamespace(run=lambda context: {}))
    s3_store.put(layout.run_experiment("tiny-run"), EXPERIMENT.model_dump_json().encode())
    s3_store.put(layout.reference("tiny-run", NET_2), b"{}")
    run_stage(TaskId(Stage.PREPARE))
    assert s3_store.size(layout.reference("tiny-run", NET_2)) is not None, "the same experiment goes on"
    other = EXPERIMENT.model_copy(update={"seed": 2})
    monkeypatch.setenv(environment.EXPERIMENT, other.model_dump_json())
    run_stage(TaskId(Stage.PREPARE))
    assert s3_store.size(layout.reference("tiny-run", NET_2)) is None


@pytest.mark.parametrize("damage", [b"", b"noise", b"[]", b"{}", b"[" * 100_000])
def test_damaged_records_of_the_run_before_do_not_end_the_next_attempt(damage: bytes, stage, s3_store, monkeypatch):
    monkeypatch.setitem(sys.modules, "jobs.prepare", SimpleNamespace(run=lambda context: {}))
    for key in (layout.heartbeat("tiny-run", NET_2), layout.run_experiment("tiny-run")):
        s3_store.put(key, damage)
    assert run_stage(TaskId(Stage.PREPARE)) is Exit.DONE
    assert s3_store.get_record(layout.run_experiment("tiny-run"), Experiment) == EXPERIMENT
    s3_store.put(layout.heartbeat("tiny-run", NET_2), damage)
    assert stage(lambda context: {}) is Exit.DONE


def test_what_a_store_of_several_servers_does_not_show_yet_is_looked_for_again(stage, s3_store, monkeypatch):
    monkeypatch.setattr("jobs.runtime.context.PAUSES", (0.0, 0.0))
    answers = iter([Missing("x"), Missing("x"), "the record", Missing("x"), Missing("x"), Missing("x")])

    def finished(*_: object) -> object:
        if isinstance(answer := next(answers), Missing):
            raise answer
        return answer

    monkeypatch.setattr("jobs.runtime.context.Work.finished", finished)

    def body(context: Context) -> dict[str, float]:
        assert context.open_work(Stage.PREPARE, "0" * 64) == "the record"
        with pytest.raises(BadInput, match="was deleted: resume run tiny-run"):
            context.open_work(Stage.PREPARE, "0" * 64)
        return {}

    assert stage(body) is Exit.DONE
