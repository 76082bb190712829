"""What a cluster's owner asks for: one message at the end, and what it cost, as Argo counts it."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.disturbances import FOLD, pod_deleted, process_killed
from tests.cluster.kit import TINY, Place, derived, kubectl, until
from tests.cluster.receiver import Receiver, webhook

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif("CLUSTER_NODE_IP" not in os.environ, reason="no address under which pods reach this machine"),
]

RUN = "told"
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
    with webhook() as one:
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
    pod_deleted(own, RUN, workflow)
    selector = ("-n", own.namespace, "-l", "cxrfold/stage=notify", "-o", "name")
    until(lambda: kubectl("get", "pods", *selector), seconds=900, every=0.2, about="the exit handler starts")
    kubectl("delete", "pod", "-n", "argo", "-l", "app=workflow-controller")
    assert own.wait(workflow) == "Succeeded"
    return Told(own, own.workflow(workflow), list(receiver.got), own.cv("status", RUN).stdout)


def test_the_receiver_is_told_once_although_the_controller_restarts(told: Told) -> None:
    (got,) = told.got
    assert got["title"].startswith(f"Run {RUN} succeeded: map4 0.")
    assert (got["run"], got["workflow"], got["status"]) == (RUN, f"{RUN}-1", "succeeded")
    assert got["link"].endswith(f"/runs/{RUN}/report.html")


def test_a_receiver_that_does_not_answer_is_said_and_fails_nothing(told: Told) -> None:
    assert f"Not told that {RUN}-1 ended: json://{os.environ['CLUSTER_NODE_IP']}" in told.status


def test_the_cost_of_every_attempt_agrees_with_argo(told: Told) -> None:
    nodes = told.workflow["status"]["nodes"].values()
    argo = [node["resourcesDuration"].get("nvidia.com/gpu", 0) for node in nodes if node["type"] == "Pod"]
    (cost,) = json.loads(told.place.cv("cost", RUN, "--json").stdout)
    (fold,) = [row for row in cost["tasks"] if row["what"] == FOLD]
    assert (fold["attempts"], fold["ends"]) == (3, "1 killed, 1 stopped")
    assert fold["hours"]["lost"] > 0, "what came after the last checkpoint of the killed attempt"
    held = 3600 * (fold["total"] - fold["hours"]["pulling"])
    assert abs(held - sum(argo)) < HEARTBEAT * fold["attempts"]
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

    try:
        name = until(fired, seconds=180, about="the schedule fires")
        assert own.wait(name) == "Succeeded", own.cv("explain", name).stdout
    finally:
        kubectl("delete", "cronworkflow", "nightly", "-n", own.namespace)
    tasks = own.status(name)["tasks"]
    assert {task["state"] for task in tasks.values()} == {"succeeded"}
    listed = next(run for run in json.loads(own.cv("runs", "--json").stdout) if run["run"] == name)
    assert (listed["state"], listed["done"], listed["experiment"]) == ("Succeeded", len(tasks), "tiny")
    assert own.store.size(f"runs/{name}/report.html")
    described = own.workflow(name)["metadata"]["annotations"]
    assert described["workflows.argoproj.io/title"].startswith(f"{name}: ")
