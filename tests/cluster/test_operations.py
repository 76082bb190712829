"""What a cluster's owner asks for: one message at the end, and what it cost, as Argo counts it."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs.contract.costs.attempt import attempt_cost
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Heartbeat
from jobs.contract.task import TaskId
from tests.cluster.disturbances import FOLD, pod_deleted, process_killed
from tests.cluster.kit import TINY, Place, derived, kubectl, until
from tests.cluster.receiver import Receiver, webhook

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif("CLUSTER_NODE_IP" not in os.environ, reason="no address under which pods reach this machine"),
]

RUN = "told"
TASK = TaskId(Stage.TRAIN_CLASSIFIER, "tiny", 0)
HEARTBEAT = 30.0
PRICES = {"currency": "EUR", "gpu_hour": 3.6, "pod_hour": 0.36}


@dataclass(frozen=True)
class Told:
    """A disturbed run that has ended, and what the receiver got."""

    place: Place
    workflow: dict[str, Any]
    got: list[dict[str, Any]]
    status: str


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """A webhook for the whole module."""
    with webhook(os.environ["CLUSTER_NODE_IP"]) as one:
        yield one


@pytest.fixture(scope="module")
def told(place: Place, folder: Path, receiver: Receiver) -> Told:
    """A run whose fold is killed once and deleted once, and whose controller restarts while the exit handler runs.

    One of its two receivers does not answer.
    """
    addresses = f"{receiver.address} json://{os.environ['CLUSTER_NODE_IP']}:9/nobody"
    kubectl("create", "secret", "generic", "hooks", "-n", place.namespace, f"--from-literal=addresses={addresses}")
    notify = {"name": "hooks", "key": "addresses"}
    own = derived(place, RUN, folder, notify=notify, prices=PRICES, gpu={"count": 1, "allow_cpu": True})
    workflow = own.submit(RUN, *TINY)["workflow"]
    process_killed(own, RUN, workflow)
    until(lambda: own.attempts(workflow, FOLD)[0]["phase"] == "Failed", seconds=120, about="Argo sees the kill")
    pod_deleted(own, RUN, workflow)
    selector = ("-n", own.namespace, "-l", "cxrfold/stage=notify", "-o", "name")
    until(lambda: kubectl("get", "pods", *selector), seconds=900, every=0.2, about="the exit handler starts")
    kubectl("delete", "pod", "-n", "argo", "-l", "app=workflow-controller")
    assert own.wait(workflow) == "Succeeded"
    return Told(own, own.workflow(workflow), list(receiver.got), own.cv("status", RUN).stdout)


def test_the_receiver_is_told_once_although_the_controller_restarts(told: Told) -> None:
    (got,) = told.got
    assert got["title"].startswith(f"Run {RUN} succeeded: map4 ")
    assert (got["run"], got["workflow"], got["status"]) == (RUN, f"{RUN}-1", "succeeded")
    assert got["link"].endswith(f"/runs/{RUN}/report.html")


def test_a_receiver_that_does_not_answer_is_said_and_fails_nothing(told: Told) -> None:
    assert f"Not told that {RUN}-1 ended: json://{os.environ['CLUSTER_NODE_IP']}" in told.status


def test_the_cost_of_every_attempt_agrees_with_argo(told: Told) -> None:
    store = told.place.store
    keys = [entry.key for entry in store.list(layout.task(RUN, TASK)) if layout.is_attempt_record(entry.key)]
    costs = [attempt_cost(store.get_record(key, Heartbeat), datetime.now(UTC)) for key in sorted(keys)]
    argo = [node.get("resourcesDuration") for node in told.place.attempts(f"{RUN}-1", FOLD)]
    assert [cost.end for cost in costs] == ["killed", "stopped", "done"]
    for number in (0, 2):  # of a deleted pod Argo knows nothing, or what it saw before it was gone
        cost, counted = costs[number], argo[number]
        assert abs(cost.held - cost.seconds["pulling"] - counted["nvidia.com/gpu"]) < HEARTBEAT
    assert all(cost.pending >= 0 and cost.seconds["pulling"] > 0 for cost in costs)
    (cost,) = json.loads(told.place.cv("cost", RUN, "--json").stdout)
    (fold,) = [row for row in cost["tasks"] if row["what"] == FOLD]
    assert (fold["attempts"], fold["ends"], fold["device"]) == (3, "1 killed, 1 stopped", "GPU")
    assert fold["total"] == pytest.approx(sum(one.held for one in costs) / 3600)
    assert fold["money"] == pytest.approx(fold["total"] * PRICES["gpu_hour"])
    assert {row["device"] for row in cost["totals"]} == {"GPU", "no GPU"}


def test_a_schedule_fires_and_its_runs_are_listed(place: Place, folder: Path) -> None:
    own = derived(place, "nightly", folder)
    tiny = (*TINY, "--set", "classifiers.tiny.stages=[{lr: 1e-3, epochs: 1}]")
    own.cv("deploy", *tiny, "--name", "nightly", "--cron", "* * * * *", "--revision", own.revision)
    listing = ("get", "workflows", "-n", own.namespace, "-l", "cxrfold/run", "-o", "name")

    def fired() -> str | None:
        names = [name.rpartition("/")[2] for name in kubectl(*listing).split()]
        return next((name for name in names if name.startswith("nightly-")), None)

    name = until(fired, seconds=180, about="the schedule fires")
    kubectl("patch", "cronworkflow", "nightly", "-n", own.namespace, "--type=merge", "-p", '{"spec":{"suspend":true}}')
    assert own.wait(name) == "Succeeded", own.cv("explain", name).stdout
    tasks = own.status(name)["tasks"]
    assert {task["state"] for task in tasks.values()} == {"succeeded"}
    listed = next(run for run in json.loads(own.cv("runs", "--json").stdout) if run["run"] == name)
    assert (listed["state"], listed["done"], listed["experiment"]) == ("Succeeded", len(tasks), "tiny")
    assert own.store.size(f"runs/{name}/report.html")
    described = own.workflow(name)["metadata"]["annotations"]
    assert described["workflows.argoproj.io/title"].startswith(f"{name}: ")
    kubectl("delete", "cronworkflow,workflowtemplate", "nightly", "-n", own.namespace)


def test_a_run_stops_with_a_checkpoint_once_its_gpu_hours_are_spent(place: Place, folder: Path) -> None:
    own = derived(place, "budget", folder, gpu={"count": 1, "allow_cpu": True})
    long = (*TINY, "--set", "classifiers.tiny.stages=[{lr: 1e-3, epochs: 2000}]")
    workflow = own.submit("budget", *long, "--max-gpu-hours", "0.005")["workflow"]
    assert own.wait(workflow) == "Failed"
    (attempt,) = own.attempts(workflow, FOLD)
    assert attempt["outputs"]["exitCode"] == "76", "it is not tried again"
    explained = own.cv("explain", "budget").stdout
    assert "GPU hours of --max-gpu-hours 0.005" in explained
    assert "Next: cv.py resume budget --max-gpu-hours MORE" in explained
    own.cv("resume", "budget", "--max-gpu-hours", "100", "--revision", own.revision)
    pod = own.pod_in_training("budget")
    assert "continuing after step" in kubectl("logs", "-n", own.namespace, pod, "-c", "main")
    own.cv("stop", "budget")
