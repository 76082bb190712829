"""What a store knows of runs when nobody else does."""

from datetime import UTC, datetime, timedelta

import pytest

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage
from jobs.contract.plan import plan
from jobs.contract.profile import Profile
from jobs.contract.stored import layout
from jobs.contract.stored.records import Heartbeat, Reference
from jobs.contract.task import TaskId
from workflows.board.rows import Row
from workflows.runs.finding.listing import listing
from workflows.runs.stored import ended, find_logs, list_runs, read_log, status

EXPERIMENT = Experiment.model_validate(
    {"name": "x", "title": "A title", "folds": {"count": 2}, "classifiers": {"b": {}}}
)
FOLD_1 = TaskId(Stage.TRAIN_CLASSIFIER, "b", 1)


def beat(store, run, stage, model=None, fold=None, phase="training", later=0, **fields):
    """A heartbeat so many seconds from now."""
    now = datetime.now(UTC)
    said = Heartbeat(
        stage=stage,
        model=model,
        fold=fold,
        phase=phase,
        attempt=0,
        at=now + timedelta(seconds=later),
        started=now - timedelta(hours=1),
        **fields,
    )
    store.put(layout.heartbeat(run, TaskId(stage, model, fold)), said.model_dump_json().encode())


def refer(store, run, stage, model=None, fold=None, **scores):
    done = Reference(
        run=run, stage=stage, model=model, fold=fold, works={}, scores=scores, attempt=1, created=datetime.now(UTC)
    )
    store.put(layout.reference(run, TaskId(stage, model, fold)), done.model_dump_json().encode())


@pytest.fixture
def run(s3_store):
    s3_store.put(layout.run_experiment("r"), EXPERIMENT.model_dump_json().encode())
    return "r"


def test_a_row_a_task_whatever_is_known_of_it(s3_store, run):
    refer(s3_store, run, Stage.PREPARE, films=4.0)
    beat(s3_store, run, Stage.TRAIN_CLASSIFIER, "b", 0, epoch=2.0, epochs=8, best=0.5, node="here")
    beat(s3_store, run, Stage.TRAIN_CLASSIFIER, "b", 1, later=-600)
    rows = {row.task: row for row in status(s3_store, run)}
    assert list(rows) == [
        "prepare", "b-fold-0", "b-fold-1", "ensemble", "evaluate",
    ]  # fmt: skip
    assert (rows["prepare"].state, rows["prepare"].note) == ("succeeded", "films 4")
    busy = rows["b-fold-0"]
    assert (busy.state, busy.phase, busy.epoch, busy.best, busy.node) == ("running", "training", 2.0, 0.5, "here")
    assert "no heartbeat for 10m0" in rows["b-fold-1"].note
    assert rows["ensemble"].state == "waiting"


@pytest.mark.parametrize(("phase", "state"), [("failed", "failed"), ("stopped", "stopped"), ("done", "succeeded")])
def test_a_last_heartbeat_says_how_a_task_ended(s3_store, run, phase, state):
    beat(s3_store, run, Stage.PREPARE, phase=phase, message="why")
    row = status(s3_store, run)[0]
    assert (row.state, row.note) == (state, "why")


def test_a_task_that_runs_again_is_not_shown_as_done(s3_store, run):
    refer(s3_store, run, Stage.PREPARE)
    beat(s3_store, run, Stage.PREPARE, later=1)
    assert status(s3_store, run)[0].state == "running"


def test_an_unknown_run_names_the_nearest(s3_store, run):
    s3_store.put(layout.run_experiment("demo-1234"), EXPERIMENT.model_dump_json().encode())
    with pytest.raises(BadInput, match=r"Run demo-123 does not exist in .* Did you mean demo-1234"):
        status(s3_store, "demo-123")


def test_runs_are_listed_with_their_scores_the_latest_first(s3_store, run):
    refer(s3_store, run, Stage.PREPARE)
    s3_store.put_json(layout.report(run, "metrics.json"), {"headline": {"figure": "map4", "score": 0.5}})
    s3_store.put("runs/other/something", b"no run of ours")
    listed = list_runs(s3_store)
    assert [(one.name, one.done, one.tasks, one.headline, one.score) for one in listed] == [("r", 1, 5, "map4", 0.5)]


def test_predictions_are_listed_as_such(s3_store, run, monkeypatch):
    refer(s3_store, run, Stage.PREDICT, "b", 0)  # of a version that stored no order
    s3_store.put(layout.run_experiment("p"), EXPERIMENT.model_dump_json().encode())
    s3_store.put_json(layout.run_order("p"), {"test_set": {"source": "s3://films", "from_run": "r"}})
    monkeypatch.setenv("KUBECONFIG", "/none")
    monkeypatch.setattr("workflows.runs.finding.listing.open_store", lambda settings: s3_store)
    rows = {row.run: row for row in listing(Profile())[0]}
    assert (rows["p"].from_run, rows["p"].cells()[1]) == ("r", "prediction with r")
    assert (rows["r"].from_run, rows["r"].cells()[1]) == ("", "prediction with another run")
    assert rows["p"].tasks == 4, "prepare, two folds and the ensemble"


@pytest.mark.parametrize("damage", [b"", b"noise", b"[]", b"{}", b"null"])
def test_a_run_that_cannot_be_read_is_listed_with_the_reason(damage, s3_store, run, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "/none")
    monkeypatch.setattr("workflows.runs.finding.listing.open_store", lambda settings: s3_store)
    s3_store.put(layout.report(run, "metrics.json"), damage)
    s3_store.put(layout.run_experiment("other"), damage)
    rows = {listed.run: listed.cells() for listed in listing(Profile())[0]}
    assert ("metrics.json is damaged" in rows[run][1]) is (damage != b"{}"), "figures may be absent"
    assert "experiment.json is damaged" in rows["other"][1]


@pytest.mark.parametrize("damage", [b"", b"noise", b"[]", b"{}", b"null"])
def test_a_task_whose_records_cannot_be_read_has_a_row_with_the_reason(damage, s3_store, run):
    s3_store.put(layout.heartbeat(run, FOLD_1), damage)
    s3_store.put(layout.reference(run, TaskId(Stage.PREPARE)), damage)
    rows = {row.task: row.note for row in status(s3_store, run)}
    assert "prepare.json is damaged" in rows["prepare"]
    assert "heartbeat.json is damaged" in rows["b-fold-1"]


def test_a_score_made_without_a_lost_fold_is_listed_as_such(s3_store, run, monkeypatch):
    figures = {"headline": {"figure": "map4", "score": 0.5}, "degraded": True, "missing_folds": [1]}
    s3_store.put_json(layout.report(run, "metrics.json"), figures)
    monkeypatch.setenv("KUBECONFIG", "/none")
    monkeypatch.setattr("workflows.runs.finding.listing.open_store", lambda settings: s3_store)
    [listed], _ = listing(Profile())
    assert "0.5000 without fold 1" in listed.cells()


def test_a_log_is_read_from_where_one_stopped_and_only_whole_lines(s3_store, run):
    first = '{"at":"2026-01-01T10:00:00","level":"info","logger":"x","text":"one"}\n'
    key = layout.log(layout.attempt(run, FOLD_1, datetime(2026, 1, 1, tzinfo=UTC), 0))
    s3_store.put(key, (first + '{"at":"2026').encode())
    records, start = read_log(s3_store, key)
    assert [record["text"] for record in records] == ["one"]
    s3_store.put(key, (first + first.replace("one", "two")).encode())
    assert [record["text"] for record in read_log(s3_store, key, start)[0]] == ["two"]


def test_the_logs_of_a_run_that_was_sent_again_stand_beside_the_first_ones(s3_store, run):
    tasks = [task.id for task in plan(EXPERIMENT) if task.id.stage is Stage.TRAIN_CLASSIFIER]
    starts = [datetime(2026, 1, day, 10, 0, second, tzinfo=UTC) for day, second in ((1, 30), (1, 40), (2, 5))]
    for start, number in zip(starts, (0, 1, 0), strict=True):
        s3_store.put(layout.log(layout.attempt(run, FOLD_1, start, number)), b"")
    found = find_logs(s3_store, run, tasks)
    assert [(log.started, log.attempt) for log in found.pop("b-fold-1")] == [
        (starts[0], 0), (starts[1], 1), (starts[2], 0),
    ]  # fmt: skip
    assert set(found) == {"b-fold-0"}
    assert not any(found.values())


def test_a_silent_task_of_a_run_that_no_cluster_executes_was_killed():
    now = datetime.now(UTC)
    rows = [
        Row("a", "running", "training", note="no heartbeat for 2m00s", at=(now - timedelta(seconds=120)).isoformat()),
        Row("b", "running", "training", at=(now - timedelta(seconds=20)).isoformat()),
    ]
    killed, alive, waiting = ended([*rows, Row("c", "waiting")], now)
    assert (killed.state, killed.phase) == ("failed", "failed")
    assert killed.note == "no heartbeat for 2m00s: its process was killed, or its machine went down"
    assert (alive, waiting.state) == (rows[1], "waiting")
    assert ended([killed, Row("c", "waiting")], now)[1].note == "never started", "nobody is left to start it"
