"""``cv.py run``: what it says, what it leaves, and what the next one does."""

import io
import os
import subprocess
import sys
import textwrap

import pytest
from rich.console import Console

from jobs.contract import environment
from jobs.contract.exits import TABLE, BadInput, Exit
from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage
from jobs.contract.profile import Profile
from jobs.contract.stored import layout
from jobs.contract.task import TaskId
from workflows.local import execute as local
from workflows.local.machine import Machine, this_machine
from workflows.local.program import Program, Step, Template, Variable, read
from workflows.manifest.dag import manifest
from workflows.manifest.spec import RunSpec, TestSet
from workflows.runs.resubmission import resubmission
from workflows.runs.run import Run
from workflows.runs.stored import find_logs, read_log, status
from workflows.settings.files import load_experiment, load_profile
from workflows.store.opening import local_store

pytestmark = pytest.mark.slow  # whole processes are started

EXPERIMENT = Experiment.model_validate({"name": "x", "classifiers": {"b": {}}})


def plan(**codes):
    tasks, before = [], ""
    for name, code in codes.items():
        command = ("python", "-c", textwrap.dedent(code))
        tasks.append(Step(name, Template(name, command), before, {}))
        before = name
    return Program("w", {}, {}, {}, tuple(tasks), (), False, None, None)


def execute(monkeypatch, folder, made, name="r", experiment=EXPERIMENT):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setattr(local, "_manifest", lambda _: {})
    monkeypatch.setattr(local, "read", lambda _: made)
    console = Console(file=io.StringIO(), width=500)
    spec = RunSpec.of(experiment, Profile(), revision="v1", run=name)
    code = local.execute(spec, Machine(2, (), 2), console)
    return code, console.file.getvalue()  # type: ignore[attr-defined]


def test_a_tracker_that_is_not_installed_is_refused_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(BadInput, match=r"tracker: mlflow .* pip install cxrfold\[mlflow\]"):
        execute(monkeypatch, tmp_path, plan(a=""), experiment=EXPERIMENT.model_copy(update={"tracker": "mlflow"}))
    assert not (tmp_path / "runs").exists()


def test_a_finished_run_shows_its_score_and_leaves_its_results_beside_it(tmp_path, monkeypatch, s3_store):
    code = """
        from jobs.contract.stored import layout
        from jobs.runtime.store import Store
        store = Store.from_environment()
        around = {"map6": {"interval": {"low": 0.4, "high": 0.5}}}
        figures = {"headline": {"figure": "map6", "score": 0.456}, "figures": around}
        store.put_json(layout.report("r", "metrics.json"), {**figures, "missing_folds": [], "left_out": []})
        store.put(layout.report("r", "report.html"), b"<html>")
        store.put(layout.report("r", "submission.csv"), b"id,PredictionString")
    """
    exit, said = execute(monkeypatch, tmp_path, plan(evaluate=code))
    assert exit is Exit.DONE
    assert said.splitlines()[-1] == "map6        0.4560  (95 % interval 0.4000 to 0.5000)"
    assert "report      runs/r/report.html" in said
    assert (tmp_path / "runs/r/submission.csv").read_text() == "id,PredictionString"


QUORUM = """
    from jobs.contract.stored import layout
    from jobs.runtime.store import Store
    figures = {"headline": {"figure": "map4", "score": 0.4}, "figures": {"map4": {"interval": None}}}
    figures |= {"missing_folds": [1], "left_out": []}
    Store.from_environment().put_json(layout.report("r", "metrics.json"), figures)
"""


def quorum(lost):
    """Two folds, of which the second ends with ``lost``, and a last task that goes on without it."""
    steps = [Step(f"b-fold-{k}", Template("t", ("python", "-c", code)), "", {}) for k, code in enumerate(["", lost])]
    depends = " && ".join(f"({step.name}.Succeeded || {step.name}.Failed)" for step in steps)
    last = Step("evaluate", Template("t", ("python", "-c", textwrap.dedent(QUORUM))), depends, {})
    names = tuple(step.name for step in [*steps, last])
    return Program("w", {}, {}, {}, (*steps, last), names, False, None, None)


def test_a_result_without_a_lost_fold_is_delivered_and_says_so(tmp_path, monkeypatch, s3_store):
    exit, said = execute(monkeypatch, tmp_path, quorum("raise SystemExit(70)"))
    assert exit is Exit.DEGRADED
    assert "b-fold-1 failed, exit code 70" in said
    assert (tmp_path / "runs/r/metrics.json").exists()
    assert "degraded    the result is without fold 1; cv.py resume r runs what failed" in said
    assert said.splitlines()[-1] == "map4        0.4000 without fold 1"


def test_what_an_earlier_execution_left_is_not_taken_for_the_result(tmp_path, monkeypatch, s3_store):
    execute(monkeypatch, tmp_path, quorum("raise SystemExit(70)"))
    execute(monkeypatch, tmp_path, plan(evaluate="raise SystemExit(78)"))
    assert not (tmp_path / "runs/r/metrics.json").exists()


def test_a_killed_process_leaves_its_end_and_its_log_in_the_store(tmp_path, monkeypatch, s3_store):
    code = """
        import os, pathlib
        log = pathlib.Path(os.environ["CXRFOLD_SCRATCH"], "cxrfold-x", "attempt.log")
        log.parent.mkdir(parents=True)
        log.write_text('{"at": "2026-01-01T00:00:00", "level": "info", "logger": "x", "text": "epoch 3"}\\n')
        os.kill(os.getpid(), 9)
    """
    monkeypatch.setenv("CXRFOLD_SCRATCH", str(tmp_path / "scratch"))
    name = "b-fold-2"
    exit, _ = execute(monkeypatch, tmp_path, plan(**{name: code}))
    assert exit is Exit.KILLED
    s3_store.put(layout.run_experiment("r"), EXPERIMENT.model_dump_json().encode())
    row = next(row for row in status(s3_store, "r") if row.task == name)
    assert (row.state, row.note) == ("failed", TABLE[Exit.KILLED].says)
    task = TaskId(Stage.TRAIN_CLASSIFIER, "b", 2)
    (log,) = find_logs(s3_store, "r", [task])[name]
    assert [record["text"] for record in read_log(s3_store, log.key)[0]] == ["epoch 3"]


def test_a_local_run_stores_its_order_so_that_resume_executes_it_here(tmp_path, monkeypatch, s3_store):
    code = """
        import os
        from jobs.contract.stored import layout
        from jobs.runtime.store import Store
        Store.from_environment().put(layout.run_order("r"), os.environ["CXRFOLD_ORDER"].encode())
    """
    execute(monkeypatch, tmp_path, plan(prepare=code))
    s3_store.put(layout.run_experiment("r"), EXPERIMENT.model_dump_json().encode())
    spec, _ = resubmission(Run("r", None, None, []))
    assert (spec.run, spec.local, spec.experiment) == ("r", True, EXPERIMENT)


def test_a_finished_runs_name_is_not_given_to_another_experiment(tmp_path, monkeypatch, s3_store):
    monkeypatch.chdir(tmp_path)
    spec = RunSpec.of(EXPERIMENT, Profile(), revision="v1", run="r")
    other = spec.model_copy(update={"experiment": EXPERIMENT.model_copy(update={"seed": 2})})
    s3_store.put(layout.run_experiment("r"), EXPERIMENT.model_dump_json().encode())
    assert local.finished_otherwise(other) is None, "an unfinished run may be changed"
    s3_store.put_json(layout.report("r", "metrics.json"), {})
    assert local.finished_otherwise(spec) is None
    assert local.finished_otherwise(other) == "Run r exists with another experiment (x)."
    for damage in (b"", b"[]", b"{}", b'{"name": "x", "knob": 1}'):
        s3_store.put(layout.run_experiment("r"), damage)
        assert "its experiment cannot be read: s3://" in (local.finished_otherwise(spec) or "")


def test_folds_that_fail_alike_are_shown_once(tmp_path, monkeypatch, s3_environment):
    bad = "print('no such backbone'); raise SystemExit(78)"
    steps = tuple(Step(f"b-fold-{k}", Template("t", ("python", "-c", bad)), "", {}) for k in range(3))
    _, said = execute(monkeypatch, tmp_path, Program("w", {}, {}, {}, steps, (), False, None, None))
    assert "b-fold-0, b-fold-1, b-fold-2 failed, exit code 78" in said
    assert said.splitlines().count("  no such backbone") == 1


def test_what_would_fail_in_every_fold_is_found_before_anything_starts(tmp_path, monkeypatch):
    unknown = EXPERIMENT.model_copy(
        update={"classifiers": {"b": EXPERIMENT.classifiers["b"].model_copy(update={"backbone": "resnet5O"})}}
    )
    shown = io.StringIO()
    console = Console(file=shown, width=500)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="Nothing was started: 1 error above"):
        local.execute(RunSpec.of(unknown, Profile(), revision="v1", run="r"), Machine(2, (), 2), console)
    assert "CXR112 error  classifiers.b.backbone: timm has no model resnet5O; did you mean" in shown.getvalue()
    assert not (tmp_path / "runs").exists()


def test_the_recipe_that_a_search_found_lies_beside_the_report(tmp_path, monkeypatch, s3_store):
    code = """
        from jobs.contract.stored import layout
        from jobs.runtime.store import Store
        Store.from_environment().put(layout.recipe("r", "yolo", 1), b"name: x-evolved")
    """
    detector = {"epochs": 2, "evolve": {"epochs": 4}}
    searching = Experiment.model_validate({"name": "x", "folds": {"run": [1]}, "detectors": {"yolo": detector}})
    _, said = execute(monkeypatch, tmp_path, plan(train=code), experiment=searching)
    assert "recipe      runs/r/evolved-yolo-fold-1.yaml" in said
    assert (tmp_path / "runs/r/evolved-yolo-fold-1.yaml").read_text() == "name: x-evolved"


def test_a_failure_shows_its_last_lines_its_log_its_meaning_and_how_to_repeat_it(tmp_path, monkeypatch, s3_environment):
    bad = "print('first line'); print('the file x.csv lacks the column id'); raise SystemExit(78)"
    exit, said = execute(monkeypatch, tmp_path, plan(prepare=bad, evaluate="print(1)"))
    assert exit is Exit.BAD_INPUT
    assert "prepare failed, exit code 78: bad input or configuration; never retried" in said
    assert "the file x.csv lacks the column id" in said
    assert "full log    runs/r/tasks/prepare/attempt-1.log" in said
    assert s3_environment["AWS_SECRET_ACCESS_KEY"] not in said
    repeat = next(line.removeprefix("repeat it   ") for line in said.splitlines() if line.startswith("repeat it"))
    again = subprocess.run(repeat, shell=True, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout.splitlines()[-1]) == (78, "the file x.csv lacks the column id")


def test_tasks_keep_the_users_own_home_and_share_a_cache(tmp_path, monkeypatch, s3_environment):
    code = "import os; print(os.environ['HOME'], os.environ['CXRFOLD_CACHE'])"
    monkeypatch.setenv("HOME", str(tmp_path))
    execute(monkeypatch, tmp_path, plan(a=code))
    assert (tmp_path / "runs/r/tasks/a/attempt-1.log").read_text() == f"{tmp_path} {tmp_path}/cache/cxrfold/packs\n"


def test_a_bucket_that_is_not_there_is_said_before_anything_starts(tmp_path, monkeypatch, s3_environment):
    monkeypatch.setenv(environment.STORE, "s3://no-such-bucket")
    with pytest.raises(BadInput, match=r"There is no bucket no-such-bucket .* create it"):
        execute(monkeypatch, tmp_path, plan(a="print(1)"))
    assert not (tmp_path / "runs/r/tasks").exists()


def test_one_run_is_not_executed_twice_at_the_same_time(tmp_path, monkeypatch, s3_environment):
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    (tmp_path / "runs/r").mkdir(parents=True)
    command = [sys.executable, "-c", hold, str(tmp_path / "runs/r/.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        try:
            with pytest.raises(BadInput, match="r is already running"):
                execute(monkeypatch, tmp_path, plan(a="print(1)"))
        finally:
            other.kill()
    assert execute(monkeypatch, tmp_path, plan(a="print(1)"))[0] is Exit.DONE


def test_without_a_configured_store_the_embedded_one_serves_and_leaves_no_trace(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in (environment.STORE, environment.ENDPOINT, "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    with local_store() as store:
        assert store.embedded
        assert store.environment[environment.ENDPOINT].startswith("http://127.0.0.1:")
        assert os.environ[environment.STORE] == "s3://cxrfold"
        with local_store() as inner:
            assert inner.embedded, "a study's run, whose printed command must start the server again"
    assert environment.STORE not in os.environ
    assert "AWS_ACCESS_KEY_ID" not in os.environ


def test_a_configured_store_wins_over_the_profiles(tmp_path, monkeypatch, s3_environment):
    code = "import os; print(*(os.environ.get(n) for n in ('CXRFOLD_STORE', 'AWS_ENDPOINT_URL_S3', 'AWS_REGION')))"
    profiles = {"CXRFOLD_STORE": "s3://cluster", "AWS_ENDPOINT_URL_S3": "http://cluster", "AWS_REGION": "moon"}
    variables = tuple(Variable(name, value) for name, value in profiles.items())
    task = Step("a", Template("a", ("python", "-c", code), variables), "", {})
    made = Program("w", {}, {}, {}, (task,), (), False, None, None)
    monkeypatch.delenv("AWS_REGION")
    execute(monkeypatch, tmp_path, made)
    store, endpoint = s3_environment[environment.STORE], s3_environment[environment.ENDPOINT]
    assert (tmp_path / "runs/r/tasks/a/attempt-1.log").read_text() == f"{store} {endpoint} None\n"


def test_an_endpoint_without_a_bucket_means_the_default_bucket(monkeypatch):
    monkeypatch.delenv(environment.STORE, raising=False)
    monkeypatch.setenv(environment.ENDPOINT, "http://127.0.0.1:9")
    with local_store():
        assert os.environ[environment.STORE] == "s3://cxrfold"


@pytest.mark.parametrize(
    ("visible", "jobs", "gpus", "expected"),
    [("0,1", None, None, (("0", "1"), 2)), ("0,1", 1, "1", (("1",), 1)), ("", None, None, ((), None)),
     ("0,1", None, "none", ((), None))],
)  # fmt: skip
def test_gpus_decide_how_many_run_at_once(monkeypatch, visible, jobs, gpus, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    machine = this_machine(jobs, gpus)
    assert machine.gpus == expected[0]
    assert machine.jobs == (expected[1] or machine.cores) or machine.jobs == min(machine.cores, 2)


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(BadInput, match="--gpus 3: there is no GPU 3; visible: 0"):
        this_machine(gpus="3")


@pytest.mark.parametrize("profile", [None, "local", "spot", "aws-irsa"])
@pytest.mark.parametrize("test_set", [None, TestSet(source="phantom:patients=3,seed=1", from_run="r")])
def test_the_engine_understands_the_workflow_of_a_profile(profile, test_set):
    spec = RunSpec.of(load_experiment("demo"), load_profile(profile), revision="abc", run="r", test_set=test_set)
    tasks = read(manifest(spec)).steps
    assert tasks[0].name == "prepare"
    assert tasks[1].template.command[:3] == ("python", "-m", "jobs")
    assert tasks[-1].name == ("ensemble" if test_set else "evaluate")


def test_a_volume_that_only_a_cluster_has_is_refused_by_name():
    profile = load_profile("on-prem").model_copy(update={"notify": None})  # its exit handler would be refused first
    spec = RunSpec.of(load_experiment("demo"), profile, revision="abc", run="r")
    with pytest.raises(BadInput, match=r"volumes\.films\.persistentVolumeClaim"):
        read(manifest(spec))
