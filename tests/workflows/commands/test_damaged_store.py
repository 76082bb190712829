"""Commands on a store in which one object of a run is damaged: they say which, and never as a bug."""

import json
import random
import sys
from datetime import UTC, datetime, timedelta

import pytest

from jobs.contract.exits import Exit
from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage
from jobs.contract.plan import plan
from jobs.contract.stored import layout
from jobs.contract.stored.records import Heartbeat, Reference
from jobs.contract.task import TaskId
from jobs.runtime.store import Store
from workflows.cv import main

RUN = "tiny"
EXPERIMENT = Experiment.model_validate({"name": "x", "folds": {"count": 2}, "classifiers": {"b": {}}})
NOW = datetime.now(UTC) - timedelta(minutes=10)
FOLD_0, PREPARE = TaskId(Stage.TRAIN_CLASSIFIER, "b", 0), TaskId(Stage.PREPARE)
LOG = layout.log(layout.attempt(RUN, FOLD_0, NOW, 0))
OBJECTS = {
    "experiment": layout.run_experiment(RUN),
    "order": layout.run_order(RUN),
    "metrics": layout.report(RUN, "metrics.json"),
    "reference": layout.reference(RUN, PREPARE),
    "heartbeat": layout.heartbeat(RUN, FOLD_0),
    "log": LOG,
}
DAMAGES = {
    "truncated": lambda data: data[: len(data) // 2],
    "other bytes": lambda data: random.Random(1).randbytes(len(data)),
    "empty": lambda data: b"",
    "not JSON": lambda data: b"not JSON\n",
    "list": lambda data: b"[]",
    "other types": lambda data: json.dumps({key: ["x"] for key in json.loads(data)}).encode(),
}
COMMANDS = (["runs"], ["runs", "--json"], ["status", RUN], ["explain", RUN], ["logs", RUN], ["resume", RUN])


@pytest.fixture
def a_run(s3_store: Store, s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path) -> Store:
    """A run whose training of fold 0 has failed."""
    monkeypatch.setenv("KUBECONFIG", "/none")
    monkeypatch.chdir(tmp_path)
    for task in plan(EXPERIMENT):
        failed = task.id == FOLD_0
        beat = Heartbeat(
            stage=task.id.stage, model=task.id.model, fold=task.id.fold, phase="failed" if failed else "done",
            attempt=0, at=NOW, started=NOW, message="It failed." if failed else "", exit_code=78 if failed else 0,
        )  # fmt: skip
        s3_store.put(layout.heartbeat(RUN, task.id), beat.model_dump_json().encode())
    done = Reference(run=RUN, stage=Stage.PREPARE, works={"index": "0" * 64}, scores={}, attempt=0, created=NOW)
    line = {"at": NOW.isoformat(), "level": "ERROR", "logger": "x", "text": "It failed."}
    s3_store.put(OBJECTS["experiment"], EXPERIMENT.model_dump_json().encode())
    s3_store.put(OBJECTS["order"], b'{"run": "tiny", "revision": "abc", "local": true}')
    s3_store.put_json(OBJECTS["metrics"], {"headline": {"figure": "map4", "score": 0.5}, "missing_folds": []})
    s3_store.put(OBJECTS["reference"], done.model_dump_json().encode())
    s3_store.put(OBJECTS["log"], json.dumps(line).encode() + b"\n")
    return s3_store


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["cv.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code or 0


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", OBJECTS)
def test_a_damaged_object_of_a_run_is_a_row_or_a_sentence(kind, damage, a_run, monkeypatch, capsys):
    monkeypatch.setattr("workflows.local.execute.execute", lambda *_: Exit.DONE)
    key = OBJECTS[kind]
    a_run.put(key, DAMAGES[damage](a_run.get(key)))
    for command in COMMANDS:
        code = run(command, monkeypatch)
        said = "".join(capsys.readouterr())
        assert code in (Exit.DONE, Exit.BAD_INPUT, Exit.HARDWARE), said
        assert "Traceback" not in said
        assert RUN in said or command[0] in ("logs", "resume")
        if code:
            assert key in said or "Run tiny" in said, said
