"""A Prometheus on this machine that scrapes a namespace's pods as the chart's PodMonitor says, and the Pushgateway."""

import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.charts.prometheus import Prometheus, prometheus
from tests.cluster.kit import ROOT, call, kubectl

NEEDED = ("CLUSTER_NODE_IP", "CLUSTER_PUSHGATEWAY")
ENABLED = ("--set", "podMonitor.enabled=true", "--set", "rules.enabled=true")
LOOK_SECONDS = 2.0


def missing() -> list[str]:
    """What is not there for it."""
    return [name for name in NEEDED if not os.environ.get(name)] + (
        [] if shutil.which("prometheus") else ["the program prometheus"]
    )


@contextmanager
def scraping(namespace: str, folder: Path) -> Iterator[Prometheus]:
    """Scrape for as long as the block lasts. Pods have to be in reach, as those of a cluster on this machine are."""
    text = call("helm", "template", "cxrfold", str(ROOT / "charts" / "cxrfold"), "-n", namespace, *ENABLED)
    objects = {each["kind"]: each for each in yaml.safe_load_all(text) if each}
    rules, targets = folder / "rules.yaml", folder / "targets.json"
    rules.write_text(yaml.safe_dump(objects["PrometheusRule"]["spec"]))
    [endpoint] = objects["PodMonitor"]["spec"]["podMetricsEndpoints"]
    gateway = {"targets": [urlsplit(os.environ["CLUSTER_PUSHGATEWAY"]).netloc]}
    config = {
        "global": {"scrape_interval": "2s", "evaluation_interval": "5s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": "pushgateway", "honor_labels": True, "static_configs": [gateway]},
            {
                "job_name": "pods",
                "file_sd_configs": [{"files": [str(targets)]}],
                "relabel_configs": [
                    {"source_labels": rule["sourceLabels"], "target_label": rule["targetLabel"]}
                    for rule in endpoint["relabelings"]
                ],
            },
        ],
    }
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_SECONDS):
            found = targets.with_suffix(".new")
            found.write_text(json.dumps(list(_targets(namespace, endpoint["port"]))))
            found.replace(targets)

    thread = threading.Thread(target=look)
    with prometheus(config, folder) as running:
        thread.start()
        try:
            yield running
        finally:
            ended.set()
            thread.join()


def _targets(namespace: str, port: str) -> Iterator[dict[str, Any]]:
    """The pods that run, with what Kubernetes tells Prometheus of them; Debian's cannot ask Kubernetes itself."""
    listing = ("get", "pods", "-n", namespace, "-l", "cxrfold/run", "--field-selector=status.phase=Running")
    for pod in json.loads(kubectl(*listing, "-o", "json"))["items"]:
        meta = pod["metadata"]
        run = {"__meta_kubernetes_pod_label_cxrfold_run": meta["labels"]["cxrfold/run"]}
        labels = {"namespace": namespace, "pod": meta["name"], **run}
        ports = [one for container in pod["spec"]["containers"] for one in container.get("ports") or ()]
        for one in ports:
            if one["name"] == port:
                yield {"targets": [f"{pod['status']['podIP']}:{one['containerPort']}"], "labels": labels}
