"""Whatever a cluster does to a fold, its weights and predictions are those of one left alone, bit for bit."""

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.contract.names import Stage
from jobs.contract.stored import layout
from tests.cluster.disturbances import (
    FOLD,
    LOSE_A_FOLD,
    Disturbance,
    Outcome,
    argos_verbs,
    config_map,
    controller_restarted,
    disturbed,
    forwarder,
    out_of_memory_twice,
    pod_deleted,
    pod_evicted,
    process_killed,
    stopped_and_resumed,
)  # fmt: skip
from tests.cluster.kit import TINY, Place, derived, kubectl, until

pytestmark = pytest.mark.cluster

AT_ONCE = 3  # runs that two cores bear beside each other
SECONDS_AWAY = 60.0
Outcomes = dict[str, Future[Outcome]]
Scenario = Callable[[Place, Path], Outcome]


@pytest.fixture(scope="module")
def calm(place: Place, folder: Path) -> dict[str, str]:
    """What a run left alone comes to. Submitted twice at the same time, which must make no difference."""
    own = derived(place, "calm", folder)
    with ThreadPoolExecutor(2) as pool:
        results = [future.result() for future in [pool.submit(own.submit, "calm", *TINY) for _ in range(2)]]
    assert sorted(result["created"] for result in results) == [False, True]
    assert {result["workflow"] for result in results} == {"calm-1"}
    assert own.wait("calm-1") == "Succeeded", own.cv("explain", "calm").stdout
    return own.outputs("calm")


def seeded(place: Place, name: str, folder: Path, **changes: object) -> Place:
    """A place of its own where the films are prepared already."""
    own = derived(place, name, folder, **changes)
    source = derived(place, "calm", folder).store
    for entry in source.list(f"{layout.WORK}{Stage.PREPARE}/"):
        copied = {"Bucket": source.bucket, "Key": source.prefix + entry.key}
        own.store.client.copy_object(Bucket=own.store.bucket, Key=own.store.prefix + entry.key, CopySource=copied)
    return own


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, place: Place, calm: dict[str, str], folder: Path) -> Iterator[Outcomes]:
    """The disturbed runs of the tests that were picked, a few at once; each test looks at its own."""
    picked = [item.name for item in request.session.items if item.name in SCENARIOS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(SCENARIOS[name], place, folder) for name in picked}


@pytest.fixture
def outcome(request: pytest.FixtureRequest, outcomes: Outcomes) -> Outcome:
    """What came of the test's run."""
    return outcomes[request.node.name].result()


def _disturbed(disturbance: Disturbance) -> Scenario:
    def scenario(place: Place, folder: Path) -> Outcome:
        return disturbed(seeded(place, disturbance.__name__.replace("_", "-"), folder), disturbance)

    return scenario


def _s3_away(place: Place, folder: Path) -> Outcome:
    with forwarder() as way:
        own = seeded(place, "s3-away", folder, store={"endpoint": way.address})

        def s3_away(own: Place, run: str, workflow: str) -> str:
            own.pod_in_training(run)
            way.away(SECONDS_AWAY)
            return ""

        return disturbed(own, s3_away)


def _argos_verbs(place: Place, folder: Path) -> Outcome:
    """A training long enough for all of them; it need not end."""
    own = seeded(place, "argos-verbs", folder)
    run, long = "argos-verbs", ("--set", "classifiers.tiny.stages=[{lr: 1e-3, epochs: 5000}]")
    return Outcome("", [], {}, argos_verbs(own, run, own.submit(run, *TINY, *long)["workflow"]))


def _quorum(place: Place, folder: Path) -> Outcome:
    """Two folds of which one is lost for good, where one is enough."""
    config_map(place, "lost", {"sitecustomize.py": LOSE_A_FOLD}, folder)
    volume = {"name": "lost", "mount_path": "/lost", "source": {"configMap": {"name": "lost"}}}
    own = seeded(place, "quorum", folder, volumes=[volume], env={"PYTHONPATH": "/lost:/app"})
    options = ("--set", "folds.run=[0,1]", "--set", "ensemble.min_folds=1")
    workflow = own.submit("quorum", *TINY, *options)["workflow"]
    watched = own.cv("status", "quorum", "-w", exit_code=3).stdout
    listed = own.cv("runs").stdout
    fetched = own.cv("fetch", "quorum", "--to", str(folder / "quorum")).stderr
    return Outcome(own.wait(workflow), [], {}, watched + own.cv("status", "quorum").stdout + listed + fetched)


def _bug(place: Place, folder: Path) -> Outcome:
    """A module of the ensemble's name that has a bug, mounted over the real one."""
    config_map(place, "buggy", {"__init__.py": "def run(context):\n    return {}['a bug']\n"}, folder)
    volume = {"name": "buggy", "mount_path": "/app/jobs/ensemble", "source": {"configMap": {"name": "buggy"}}}
    own = seeded(place, "bug", folder, volumes=[volume])
    workflow = own.submit("bug", *TINY)["workflow"]
    return Outcome(own.wait(workflow), own.attempts(workflow, "ensemble"), {}, own.cv("explain", "bug").stdout)


def _bad_input(place: Place, folder: Path) -> Outcome:
    """Weights that nobody added; ``submit`` would refuse them, but is not let into the store."""
    own = seeded(place, "bad-input", folder)
    outside = replace(own, environment={**own.environment, "AWS_SECRET_ACCESS_KEY": "another"})
    workflow = outside.submit("bad-input", *TINY, "--set", "classifiers.tiny.weights=no-such-weights")["workflow"]
    return Outcome(own.wait(workflow), own.attempts(workflow, "prepare"), {}, own.cv("explain", "bad-input").stdout)


SCENARIOS: dict[str, Scenario] = {
    "test_a_deleted_pod": _disturbed(pod_deleted),
    "test_an_evicted_pod": _disturbed(pod_evicted),
    "test_a_process_killed_by_sigkill": _disturbed(process_killed),
    "test_a_pod_out_of_memory_is_tried_once_more_and_resume_raises_its_memory": _disturbed(out_of_memory_twice),
    "test_a_run_stopped_and_resumed": _disturbed(stopped_and_resumed),
    "test_a_controller_that_restarts": _disturbed(controller_restarted),
    "test_an_s3_server_that_is_away_for_a_minute": _s3_away,
    "test_argos_own_verbs": _argos_verbs,
    "test_a_result_without_a_lost_fold_is_delivered_and_flagged": _quorum,
    "test_a_bug_is_never_retried": _bug,
    "test_bad_input_is_never_retried_and_says_what_to_change": _bad_input,
}


def same(outcome: Outcome, calm: dict[str, str]) -> None:
    assert outcome.phase == "Succeeded", outcome
    assert outcome.outputs == calm
    assert len(calm) >= 3, "weights and predictions were compared"


def test_a_deleted_pod(outcome: Outcome, calm: dict[str, str]) -> None:
    assert len(outcome.attempts) == 2
    assert outcome.attempts[0]["message"] == "pod deleted"
    same(outcome, calm)


def test_an_evicted_pod(outcome: Outcome, calm: dict[str, str]) -> None:
    assert '"status":"Success"' in outcome.said.replace(" ", "")
    assert len(outcome.attempts) == 2
    same(outcome, calm)


def test_a_process_killed_by_sigkill(outcome: Outcome, calm: dict[str, str]) -> None:
    assert outcome.ends == [("Failed", "137"), ("Succeeded", "0")]
    same(outcome, calm)


def test_a_pod_out_of_memory_is_tried_once_more_and_resume_raises_its_memory(
    outcome: Outcome, calm: dict[str, str]
) -> None:
    assert outcome.ends == [("Failed", "137"), ("Failed", "137"), ("Succeeded", "0")]
    assert "OOM killer ended it: 2Gi was not enough" in outcome.said
    assert f"{FOLD} ran out of memory at 2Gi: its memory is now 4Gi." in outcome.said
    same(outcome, calm)


def test_a_run_stopped_and_resumed(outcome: Outcome, calm: dict[str, str]) -> None:
    assert [phase for phase, _ in outcome.ends] == ["Failed", "Succeeded"]
    for part in ("is stopping; each pod has 60 s", f"{FOLD}: stopped", "Stopped on request", "Next: cv.py resume"):
        assert part in outcome.said, "what a mere submitter is told"
    assert "is not shown" not in outcome.said
    same(outcome, calm)


def test_a_controller_that_restarts(outcome: Outcome, calm: dict[str, str]) -> None:
    assert outcome.ends == [("Succeeded", "0")]
    same(outcome, calm)


@pytest.mark.skipif("CLUSTER_NODE_IP" not in os.environ, reason="no address under which pods reach this machine")
def test_an_s3_server_that_is_away_for_a_minute(outcome: Outcome, calm: dict[str, str]) -> None:
    same(outcome, calm)


def test_argos_own_verbs(outcome: Outcome) -> None:
    _, suspended, terminated, retried, resubmitted, deleted = outcome.said.split("\n## ")
    assert "Workflow argos-verbs-1 is suspended: no further pod starts. cv.py resume argos-verbs" in suspended
    assert "Workflow argos-verbs-1 is suspended no longer." in suspended
    assert f"{FOLD}: stopped" in terminated
    assert "wrote a checkpoint" in terminated
    assert "Next: cv.py resume argos-verbs" in terminated
    assert "Run argos-verbs is not running on the cluster: it has ended." in terminated
    assert f"{FOLD}: training" in retried
    assert "Stopped on request" in retried, "the log of the attempt before"
    assert "Workflow argos-verbs-1 is stopping" in retried
    assert "2 workflows of this run are running at once" in resubmitted
    assert "2 workflows, " in resubmitted
    assert "Namespace" in deleted
    assert "has no workflow of run argos-verbs" in deleted
    assert "A run on this machine is stopped with Ctrl-C" in deleted


def test_a_result_without_a_lost_fold_is_delivered_and_flagged(outcome: Outcome) -> None:
    assert outcome.phase == "Failed"
    assert "Degraded: the result is without fold 1." in outcome.said
    assert "result without fold 1" in outcome.said
    assert outcome.said.count(" without fold 1  (95 % interval ") >= 2, "after watching, and when asked again"
    assert "report.html" in outcome.said


def test_a_bug_is_never_retried(outcome: Outcome) -> None:
    assert (outcome.phase, outcome.ends) == ("Failed", [("Failed", "70")])
    assert "Exit code 70 means: a bug" in outcome.said
    assert "KeyError: 'a bug'" in outcome.said


def test_bad_input_is_never_retried_and_says_what_to_change(outcome: Outcome) -> None:
    assert (outcome.phase, outcome.ends) == ("Failed", [("Failed", "78")])
    assert "Exit code 78 means: bad input" in outcome.said
    assert "no-such-weights" in outcome.said


def test_gpus_for_four_of_five_folds(place: Place, calm: dict[str, str], folder: Path) -> None:
    """Four GPUs: one fold waits, the board says why, and all are trained in the end."""
    own = seeded(place, "gpus", folder, gpu={"count": 1, "allow_cpu": True})
    options = ("--set", "folds.run=[0,1,2,3,4]", "--set", "classifiers.tiny.stages=[{lr: 1e-3, epochs: 1}]")
    workflow = own.submit("gpus", *TINY, *options)["workflow"]

    def waiting() -> str:
        notes = [task["note"] for task in own.status("gpus")["tasks"].values() if task["phase"] == "queued"]
        return next((note for note in notes if "taken by run gpus" in note), "")

    note = until(waiting, seconds=300, about="a fold that waits for a GPU")
    assert note == "1 Insufficient nvidia.com/gpu; 4 GPUs, 4 taken by run gpus"
    assert own.wait(workflow) == "Succeeded"
    tasks = own.status("gpus")["tasks"]
    assert [tasks[f"tiny-fold-{fold}"]["state"] for fold in range(5)] == ["succeeded"] * 5


def test_a_finished_run_submitted_again_does_nothing_anew(place: Place, calm: dict[str, str], folder: Path) -> None:
    own = derived(place, "calm", folder)
    before = {entry.key: entry.etag for entry in own.store.list(layout.WORK)}
    again = own.submit("calm", *TINY)
    assert (again["created"], again["workflow"]) == (True, "calm-2")
    assert own.wait("calm-2") == "Succeeded"
    assert {entry.key: entry.etag for entry in own.store.list(layout.WORK)} == before
    assert json.loads(own.cv("runs", "--json").stdout)[0]["run"] == "calm"


def test_what_render_prints_is_the_same_run_when_kubectl_creates_it(
    place: Place, calm: dict[str, str], folder: Path
) -> None:
    own, manifest = derived(place, "calm", folder), folder / "rendered.yaml"
    manifest.write_text(own.cv("render", *TINY, "--run", "rendered", "--revision", own.revision).stdout)
    workflow = kubectl("create", "-n", own.namespace, "-f", str(manifest), "-o", "name").strip().rsplit("/", 1)[-1]
    assert own.wait(workflow) == "Succeeded"
    assert own.outputs("rendered") == calm
    listed = {row["run"]: row["score"] for row in json.loads(own.cv("runs", "--json").stdout)}
    assert listed["rendered"] == listed["calm"]


def test_without_its_workflow_a_run_is_told_and_resumed_from_the_store(
    place: Place, calm: dict[str, str], folder: Path
) -> None:
    own = derived(place, "calm", folder)

    def epochs() -> list[str]:
        said = own.cv("logs", "calm", "-s", "train-classifier", "--grep", r"epoch \d+/120", "--json").stdout
        return [json.loads(line)["text"] for line in said.splitlines()]

    told, texts = own.status("calm"), epochs()
    assert len(texts) == 120, "what the first workflow said is not lost to the second"
    kubectl("delete", "workflow", "-n", own.namespace, "-l", "cxrfold/run=calm", "--wait")
    stored = own.status("calm")
    assert stored["phase"] is None
    states = {name: task["state"] for name, task in told["tasks"].items()}
    assert {name: task["state"] for name, task in stored["tasks"].items()} == states
    assert epochs() == texts
    assert own.cv("resume", "calm").stdout.startswith("Run calm is submitted: workflow calm-1.")
    assert own.wait("calm-1") == "Succeeded"
