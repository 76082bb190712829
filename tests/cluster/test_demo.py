"""The demo, as the README submits it; what a person then asks of it; and that nothing is left once it is purged."""

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.contract.stored import layout
from tests.charts.prometheus import Prometheus, queries
from tests.cluster.kit import Place, derived, kubectl
from tests.cluster.scraping import missing, scraping

pytestmark = pytest.mark.cluster

RUN = "demo"
# Two of the demo's five folds: every stage, every image, in half the time.
FOLDS = ("--folds", "0,1")


@pytest.fixture(scope="module")
def watching(place: Place, folder: Path) -> Iterator[Prometheus | None]:
    """A Prometheus that scrapes while the demo runs; None where there is none."""
    if missing():
        yield None
    else:
        with scraping(place.namespace, folder) as running:
            yield running


@pytest.fixture(scope="module")
def demo(place: Place, folder: Path, watching: Prometheus | None) -> Place:
    """The demo, submitted and watched to its end."""
    own = derived(place, RUN, folder, gpu={"count": 1, "allow_cpu": True})
    watched = own.cv("submit", "-e", "demo", *FOLDS, "--run", RUN, "--revision", own.revision, "--watch")
    assert "workflow demo-1." in watched.stdout
    return own


def test_it_comes_to_one_number(demo: Place) -> None:
    metrics = demo.store.get_json(layout.report(RUN, "metrics.json"))
    assert metrics["headline"]["figure"] == "map6"
    assert 0 < metrics["headline"]["score"] <= 1
    assert demo.store.size(layout.report(RUN, "report.html"))


def test_argos_page_reads_like_the_experiment(demo: Place) -> None:
    workflow = demo.workflow(f"{RUN}-1")
    nodes = workflow["status"]["nodes"].values()
    names = {node["displayName"] for node in nodes if node["type"] == "Retry"}
    assert names == {
        "prepare", "ensemble", "evaluate", "tiny-fold-0", "tiny-fold-1", "yolo-fold-0", "yolo-fold-1",
    }  # fmt: skip
    scores = [item for node in nodes for item in (node.get("outputs") or {}).get("parameters", ())]
    assert len([item for item in scores if item["name"] == "score" and item["value"] != "-"]) >= len(names)


def test_every_pod_says_where_it_belongs(demo: Place) -> None:
    logs = kubectl("logs", "-n", demo.namespace, "-l", f"cxrfold/run={RUN}", "-c", "main", "--prefix", "--tail=-1")
    for task in ("prepare", "train-classifier tiny fold 1", "train-detector yolo fold 0", "ensemble", "evaluate"):
        assert f" {task} | " in logs, f"kubectl logs tells of {task}"


def test_its_outcome_is_pushed_and_the_run_is_listed(demo: Place) -> None:
    listed = next(run for run in json.loads(demo.cv("runs", "--json").stdout) if run["run"] == RUN)
    metrics = demo.store.get_json(layout.report(RUN, "metrics.json"))
    assert (listed["state"], listed["done"], listed["tasks"]) == ("Succeeded", 7, 7)
    assert listed["score"] == metrics["headline"]["score"]
    if gateway := os.environ.get("CLUSTER_PUSHGATEWAY"):
        assert f'run="{RUN}"' in pushed(gateway)


def test_every_panel_of_the_dashboard_tells_of_it(demo: Place, watching: Prometheus | None) -> None:
    if watching is None:
        pytest.skip(f"not there: {', '.join(missing())}")
    assert {panel: expr for panel, expr in queries() if not watching(expr, minutes=60)} == {}
    trained = watching(f'cxrfold_epoch{{run="{RUN}"}} > 0', minutes=60)
    assert {(one["metric"]["model"], one["metric"]["fold"]) for one in trained} == {
        ("tiny", "0"), ("tiny", "1"), ("yolo", "0"), ("yolo", "1"),
    }  # fmt: skip
    assert {rule["health"] for rule in watching.rules()} == {"ok"}


def test_a_run_that_ended_well_has_nothing_to_explain(demo: Place) -> None:
    said = demo.cv("explain", RUN).stdout.strip()
    assert said == f"No task of run {RUN} failed, was stopped, waits in a queue or is tried again."


def test_the_doctor_finds_nothing(demo: Place) -> None:
    points = json.loads(demo.cv("doctor", "--revision", demo.revision, "--json").stdout)
    assert {point["state"] for point in points} == {"good"}, points


def test_an_image_that_is_not_there_is_found_before_anything_is_sent(demo: Place) -> None:
    done = demo.cv("submit", "-e", "demo", "--run", "nothing", "--revision", "no-such-tag", exit_code=78)
    assert "cxrfold:no-such-tag is not in its registry" in done.stderr
    assert not kubectl("get", "workflows", "-n", demo.namespace, "-l", "cxrfold/run=nothing", "-o", "name")


def test_nothing_is_left_once_it_is_purged(demo: Place) -> None:
    assert "Nothing was removed" in demo.cv("purge", RUN, exit_code=78).stderr
    demo.cv("purge", RUN, "--yes")
    assert [entry.key for entry in demo.store.list()] == []
    assert not kubectl("get", "workflows", "-n", demo.namespace, "-l", f"cxrfold/run={RUN}", "-o", "name")
    if gateway := os.environ.get("CLUSTER_PUSHGATEWAY"):
        assert f'run="{RUN}"' not in pushed(gateway)


def pushed(gateway: str) -> str:
    with urllib.request.urlopen(f"{gateway}/metrics") as answer:
        text: str = answer.read().decode()
    return text
