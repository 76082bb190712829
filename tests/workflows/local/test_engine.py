"""The local engine executes a built hera workflow as Argo would, with processes."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hera.workflows import DAG, Container, EmptyDirVolume, Env, Parameter, RetryStrategy, SecretEnv, Task, Workflow
from hera.workflows import models as m

from jobs.contract.exits import BadInput, Exit
from workflows.local.engine import Engine
from workflows.local.graph import State
from workflows.local.machine import Machine
from workflows.local.program import read, seconds
from workflows.manifest import retry

pytestmark = pytest.mark.slow  # whole processes are started and killed

RETRY = RetryStrategy(limit="3", retry_policy="Always", expression=retry.expression(), backoff=m.Backoff(duration="1s"))


def python(name, code, **fields):
    return Container(name=name, image="none", command=["python", "-c"], args=[textwrap.dedent(code)], **fields)


def workflow(tasks, fail_fast=False, target=None, **fields):
    """A workflow of (name, container, depends) or (name, container, depends, arguments)."""
    with Workflow(name="w", entrypoint="main", **fields) as built:
        for container in {id(container): container for _, container, *_ in tasks}.values():
            built._add_sub(container)
        with DAG(name="main", fail_fast=fail_fast, target=target):
            for name, container, depends, *arguments in tasks:
                Task(
                    name=name, template=container, depends=depends or None, arguments=arguments[0] if arguments else {}
                )
    return built.to_dict()


def execute(tmp_path, built, jobs=2, gpus=(), cores=2, local=None, watcher=lambda _: None):
    engine = Engine(read(built), tmp_path / "tasks", Machine(cores, tuple(gpus), jobs), local or {}, watcher)
    result = engine.run()
    return result, {run.step.name: run for run in result.runs}


def logged(tmp_path, task, number=0):
    return (tmp_path / "tasks" / task / f"attempt-{number + 1}.log").read_text()


def test_tasks_run_in_the_order_of_the_dag_and_pass_parameters_on(tmp_path):
    first = python(
        "first",
        """
        import os, pathlib
        pathlib.Path(os.environ["CXRFOLD_OUTPUTS"], "score").write_text(os.environ["COLOUR"] + "!")
        """,
        env=[Env(name="COLOUR", value="{{workflow.parameters.colour}}"), Env(name="CXRFOLD_OUTPUTS", value="/tmp/o")],
        volumes=[EmptyDirVolume(name="tmp", mount_path="/tmp")],
        outputs=[Parameter(name="score", value_from=m.ValueFrom(path="/tmp/o/score"))],
    )
    second = python(
        "second",
        "import sys; print(sys.argv[1:])",
        inputs=[Parameter(name="said"), Parameter(name="fold", default="7")],
    )
    second.args += ["{{inputs.parameters.said}}", "{{inputs.parameters.fold}}", "{{retries}}"]
    built = workflow(
        [("b", second, "a", {"said": "{{tasks.a.outputs.parameters.score}}"}), ("a", first, "")],
        arguments=[Parameter(name="colour", value="red")],
    )
    result, runs = execute(tmp_path, built)
    assert result.exit is Exit.DONE
    assert runs["a"].outputs == {"score": "red!"}
    assert logged(tmp_path, "b") == "['red!', '7', '0']\n"


@pytest.mark.parametrize(
    ("code", "attempts", "exit"),
    [(0, 1, Exit.DONE), (75, 4, Exit.CHECKPOINTED), (69, 4, Exit.SERVICE_AWAY), (78, 1, Exit.BAD_INPUT),
     (70, 1, Exit.BUG), (1, 1, Exit.BUG), (-9, 4, Exit.KILLED), (-15, 4, Exit.TERMINATED),
     (-7, 4, Exit.BUS_ERROR), (-11, 4, Exit.CRASHED), (-6, 4, Exit.ABORTED), (-8, 1, Exit.ARITHMETIC_ERROR)],
)  # fmt: skip
def test_exit_codes_decide_about_retries(tmp_path, code, attempts, exit):
    ending = f"raise SystemExit({code})" if code >= 0 else f"import os; os.kill(os.getpid(), {-code})"
    result, runs = execute(tmp_path, workflow([("a", python("a", ending, retry_strategy=RETRY), "")]))
    assert result.exit is exit
    assert runs["a"].attempt.number == attempts - 1


def test_a_retry_knows_its_number_and_its_success_counts(tmp_path):
    code = "import os; n = int(os.environ['N']); print('attempt', n); raise SystemExit(0 if n == 2 else 75)"
    again = python("a", code, retry_strategy=RETRY, env=[Env(name="N", value="{{retries}}")])
    result, runs = execute(tmp_path, workflow([("a", again, ""), ("b", python("b", "print('after')"), "a")]))
    assert result.exit is Exit.DONE
    assert logged(tmp_path, "a", 2) == "attempt 2\n"
    assert runs["b"].state is State.SUCCEEDED


def test_what_waits_for_a_failed_task_is_left_out_and_the_rest_goes_on(tmp_path):
    bad, good = python("bad", "raise SystemExit(78)"), python("good", "print('ok')")
    result, runs = execute(tmp_path, workflow([("a", bad, ""), ("b", good, "a"), ("c", good, ""), ("d", good, "c")]))
    assert {name: run.state for name, run in runs.items()} == {
        "a": State.FAILED, "b": State.OMITTED, "c": State.SUCCEEDED, "d": State.SUCCEEDED,
    }  # fmt: skip
    assert result.exit is Exit.BAD_INPUT


def test_a_run_whose_last_task_went_on_without_a_lost_one_is_degraded(tmp_path):
    bad, good = python("bad", "raise SystemExit(70)"), python("good", "print('ok')")
    depends = "(fold-0.Succeeded || fold-0.Failed) && (fold-1.Succeeded || fold-1.Failed)"
    tasks = [("fold-0", bad, ""), ("fold-1", good, ""), ("gather", good, depends)]
    result, runs = execute(tmp_path, workflow(tasks, target="fold-0 fold-1 gather"))
    assert runs["gather"].state is State.SUCCEEDED
    assert result.exit is Exit.DEGRADED
    result, _ = execute(tmp_path, workflow(tasks))
    assert result.exit is Exit.DONE  # as in Argo, where the last task alone decides without a target


def test_no_more_at_once_than_jobs(tmp_path):
    code = "import time; print(time.time(), flush=True); time.sleep(0.5); print(time.time())"
    built = workflow([(f"t{i}", python("t", code), "") for i in range(4)])
    execute(tmp_path, built, jobs=2)
    spans = [tuple(map(float, logged(tmp_path, f"t{i}").split())) for i in range(4)]
    at_once = [sum(begin <= moment < end for begin, end in spans) for moment, _ in spans]
    assert max(at_once) == 2


def test_each_task_gets_gpus_of_its_own_and_a_fixed_share_of_cores(tmp_path):
    code = """
    import os, time
    time.sleep(0.3)
    print(os.environ["CUDA_VISIBLE_DEVICES"], os.environ["CXRFOLD_GPUS"], os.environ["OMP_NUM_THREADS"])
    """
    gpu = python("gpu", code, resources=m.ResourceRequirements(limits={"nvidia.com/gpu": "1", "cpu": "4"}))
    cpu = python("cpu", code)
    built = workflow([("p", cpu, ""), ("a", gpu, "p"), ("b", gpu, "p"), ("c", gpu, "p"), ("e", cpu, "a && b && c")])
    execute(tmp_path, built, jobs=2, gpus=("0", "3"), cores=8)
    said = {name: logged(tmp_path, name).split(" ") for name in "pabce"}
    assert said["p"] == said["e"] == ["", "0", "8\n"]
    assert {said["a"][0], said["b"][0]} == {"0", "3"}
    assert said["a"][1:] == said["c"][1:] == ["1", "4\n"]


def test_without_gpus_a_task_that_asks_for_one_is_told_of_none(tmp_path):
    code = "import os; print(os.environ['CXRFOLD_GPUS'], repr(os.environ['CUDA_VISIBLE_DEVICES']))"
    gpu = python("gpu", code, resources=m.ResourceRequirements(limits={"nvidia.com/gpu": "1"}))
    execute(tmp_path, workflow([("a", gpu, "")]))
    assert logged(tmp_path, "a") == "0 ''\n"


def test_secrets_come_from_the_environment_and_local_settings_win(tmp_path, monkeypatch):
    code = "import os; print(os.environ['KEY'], os.environ['CXRFOLD_STORE'], 'CXRFOLD_METRICS_PORT' in os.environ)"
    env = [
        SecretEnv(name="KEY", secret_name="s", secret_key="k"),
        Env(name="CXRFOLD_STORE", value="s3://cluster"),
        Env(name="CXRFOLD_METRICS_PORT", value="9464"),
    ]
    built = workflow([("a", python("a", code, env=env), "")])
    with pytest.raises(BadInput, match=r"KEY: a cluster takes it from the Secret s/k; export it to run locally"):
        execute(tmp_path, built)
    monkeypatch.setenv("KEY", "mine")
    execute(tmp_path, built, local={"CXRFOLD_STORE": "s3://here"})
    assert logged(tmp_path, "a") == "mine s3://here False\n"


def test_an_attempt_finds_empty_folders_as_a_new_pod_does(tmp_path):
    code = """
    import os, pathlib
    folder = pathlib.Path(os.environ["CXRFOLD_SCRATCH"])
    print(sorted(file.name for file in folder.iterdir()))
    (folder / "left").touch()
    raise SystemExit(0 if os.environ["CXRFOLD_ATTEMPT"] == "1" else 75)
    """
    task = python(
        "a", code, retry_strategy=RETRY, env=[Env(name="CXRFOLD_SCRATCH", value="/scratch")],
        volumes=[EmptyDirVolume(name="scratch", mount_path="/scratch")],
    )  # fmt: skip
    result, _ = execute(tmp_path, workflow([("a", task, "")]))
    assert result.exit is Exit.DONE
    assert logged(tmp_path, "a", 1) == "[]\n"
    assert not (tmp_path / "tasks" / "a" / "volumes").exists()


def test_an_attempt_over_its_deadline_is_stopped(tmp_path):
    code = "import signal, time; signal.signal(15, lambda *_: exit(78)); time.sleep(30)"
    result, runs = execute(tmp_path, workflow([("a", python("a", code, active_deadline_seconds=1), "")]))
    assert result.exit is Exit.BAD_INPUT
    assert runs["a"].seconds < 10


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (["spec", "onExit"], "a", "spec.onExit"),
        (["spec", "templates", 0, "memoize"], {"key": "x"}, "templates.a.memoize"),
        (["spec", "templates", 0, "container", "envFrom"], [{}], "templates.a.container.envFrom"),
        (["spec", "templates", 0, "container", "workingDir"], "/x", "templates.a.container.workingDir"),
        (["spec", "templates", 0, "retryStrategy"], {"backoff": {"maxDuration": "1h"}}, "maxDuration"),
        (["spec", "templates", 1, "dag", "tasks", 0, "withItems"], [1, 2], "task a.withItems"),
        (["spec", "templates", 1, "dag", "tasks", 0, "when"], "1 == 1", "task a.when"),
        (["spec", "templates", 0, "outputs"], {"artifacts": [{"name": "x"}]}, "outputs.artifacts"),
        (["spec", "templates", 0, "container", "env"], [{"name": "A", "valueFrom": {"resourceFieldRef": {}}}], "env.A"),
        (["spec", "podSpecPatch"], "hostNetwork: true", "podSpecPatch.hostNetwork"),
        (["spec", "typo"], 1, "spec.typo"),
    ],
)
def test_a_field_it_does_not_interpret_is_refused_by_name(place, value, named):
    built = workflow([("a", python("a", "pass"), "")])
    target = built
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    with pytest.raises(BadInput, match=named):
        read(built)


def test_fields_that_mean_nothing_to_a_process_are_accepted():
    task = python("a", "pass", tolerations=[m.Toleration(key="gpu")], security_context=m.SecurityContext(run_as_user=5))
    program = read(workflow([("a", task, "")], pod_gc=m.PodGC(strategy="OnPodCompletion"), service_account_name="x"))
    assert [one.name for one in program.steps] == ["a"]


@pytest.mark.parametrize(
    ("depends", "said"),
    [("b", "there is no task b"), ("a.AnySucceeded", "it depends on itself"), ("a", "it depends on itself")],
)
def test_depends_that_cannot_be_met_are_refused(tmp_path, depends, said):
    with pytest.raises(BadInput, match=said):
        execute(tmp_path, workflow([("a", python("a", "pass"), depends)]))


def test_a_placeholder_without_a_value_is_an_error_and_not_an_empty_text(tmp_path):
    task = python("a", "pass", env=[Env(name="A", value="{{workflow.creationTimestamp}}")])
    with pytest.raises(BadInput, match=r"env.A: \{\{workflow.creationTimestamp\}\} has no value"):
        execute(tmp_path, workflow([("a", task, "")]))


def test_a_command_that_is_not_there_is_named(tmp_path):
    task = Container(name="a", image="none", command=["no-such-program"])
    with pytest.raises(BadInput, match="no-such-program: cannot be started"):
        execute(tmp_path, workflow([("a", task, "")]))


@pytest.mark.parametrize(("text", "value"), [("30", 30), ("30s", 30), ("1m30s", 90), ("2h", 7200), ("500ms", 0.5)])
def test_durations(text, value):
    assert seconds(text) == value


def test_a_duration_that_is_none_is_refused():
    with pytest.raises(BadInput, match="'soon' is not a duration"):
        seconds("soon")


# ---- stopping and killing: a run in a process of its own

RUN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.workflows.local.test_engine import python, workflow
from workflows.local.engine import Engine
from workflows.local.machine import Machine
from workflows.local.program import read
CODE = '''
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
signal.signal(signal.SIGTERM, lambda *_: (print("checkpoint", flush=True), exit(75)) if {polite} else None)
print(os.getpid(), child.pid, flush=True)
time.sleep(60)
'''
tasks = [("a", python("a", CODE.format(polite=sys.argv[3])), ""), ("b", python("b", "print(1)"), "a")]
engine = Engine(read(workflow(tasks)), Path(sys.argv[2]) / "tasks", Machine(2, (), 2), {})
result = engine.run()
print({run.step.name: str(run.state) for run in result.runs}, result.message)
sys.exit(result.exit)
"""


def running(tmp_path, polite=True):
    """A run in a process of its own, once its task and that task's child have started."""
    command = [sys.executable, "-c", RUN, str(Path(__file__).parents[3]), str(tmp_path), str(polite)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    log = tmp_path / "tasks" / "a" / "attempt-1.log"
    deadline = time.monotonic() + 30
    while not (log.exists() and log.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process, [int(pid) for pid in log.read_text().split()]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def all_gone(pids, seconds=10.0):
    deadline = time.monotonic() + seconds
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(alive(pid) for pid in pids)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_tasks_checkpoint_and_retries_nothing(tmp_path, signum):
    process, pids = running(tmp_path)
    with process:
        process.send_signal(signum)
        said = process.stdout.read()
    assert process.returncode == Exit.CHECKPOINTED
    assert "{'a': 'stopped', 'b': 'stopped'} interrupted; the same command continues the run" in said
    assert logged(tmp_path, "a").endswith("checkpoint\n")
    assert all_gone(pids)


def test_a_second_signal_kills_what_does_not_stop(tmp_path):
    process, pids = running(tmp_path, polite=False)
    with process:
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.returncode == Exit.CHECKPOINTED
    assert all_gone(pids)


def test_sigkill_of_the_run_leaves_no_orphans(tmp_path):
    process, pids = running(tmp_path)
    with process:
        assert all(alive(pid) for pid in pids)
        os.killpg(process.pid, signal.SIGKILL)
    assert all_gone(pids)
