"""prepare as a process of its own, killed while it decodes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.contract import environment
from jobs.contract.experiment import Classifier, Data, Experiment
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.task import TaskId
from jobs.films.phantom.files import write_phantom
from jobs.runtime.store import Store

COMMAND = [sys.executable, "-m", "jobs", "prepare"]


def alive(group: int) -> list[int]:
    """The processes of a group, zombies left out."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = stat.read_text().rsplit(")", 1)[1].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if int(pgrp) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def index(store: Store) -> str:
    """SHA-256 of the run's index."""
    digest = store.get_json(layout.reference("run", TaskId(Stage.PREPARE)))["works"]["index"]
    done = store.get_json(layout.done(layout.work(Stage.PREPARE, digest)))
    return str(done["outputs"]["index.parquet"]["sha256"])


def interrupt(given: dict[str, str], how: signal.Signals, output: Path) -> None:
    """Run prepare and end it while it decodes; look that nothing of it stays."""
    with output.open("w") as file:
        process = subprocess.Popen(COMMAND, env=given, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
    while "decoding, " not in output.read_text():
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.3)
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does
    else:
        process.send_signal(how)
    code = process.wait(timeout=120)
    assert code in ((-how,) if how == signal.SIGKILL else (75, 0)), output.read_text()
    deadline = time.monotonic() + 60
    while alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(process.pid)


@pytest.mark.slow
def test_a_killed_prepare_leaves_no_process_and_the_next_one_ends_the_same(
    s3_environment: dict[str, str], s3_store: Store, tmp_path: Path
):
    films = write_phantom(tmp_path / "films", patients=12, seed=4, size=256)
    experiment = Experiment(name="tiny", data=Data(source=str(films)), classifiers={"net": Classifier(size=512)})
    given = s3_environment | {
        environment.RUN: "run",
        environment.EXPERIMENT: experiment.model_dump_json(),
        environment.THREADS: "2",
    }
    subprocess.run(COMMAND, env=given, check=True, capture_output=True)
    undisturbed = index(s3_store)
    s3_store.delete_prefix("work/")
    interrupt(given, signal.SIGKILL, tmp_path / "killed")
    interrupt(given, signal.SIGINT, tmp_path / "stopped")
    subprocess.run(COMMAND, env=given, check=True, capture_output=True)
    assert index(s3_store) == undisturbed
