"""A Prometheus on this machine that scrapes a namespace's pods as the chart's PodMonitor says, and the Pushgateway."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.charts.prometheus import Prometheus, prometheus
from tests.cluster.kit import ROOT, call

NEEDED = ("CLUSTER_NODE_IP", "CLUSTER_PUSHGATEWAY")
ENABLED = ("--set", "podMonitor.enabled=true", "--set", "rules.enabled=true")


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
    rules = folder / "rules.yaml"
    rules.write_text(yaml.safe_dump(objects["PrometheusRule"]["spec"]))
    gateway = {"targets": [urlsplit(os.environ["CLUSTER_PUSHGATEWAY"]).netloc]}
    config = {
        "global": {"scrape_interval": "2s", "evaluation_interval": "5s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": "pushgateway", "honor_labels": True, "static_configs": [gateway]},
            _pods(objects["PodMonitor"], namespace),
        ],
    }
    with prometheus(config, folder) as running:
        yield running


def _pods(monitor: dict[str, Any], namespace: str) -> dict[str, Any]:
    """The PodMonitor in Prometheus' own words, as the operator would put it."""
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    given = [
        {"source_labels": rule["sourceLabels"], "target_label": rule["targetLabel"]} for rule in endpoint["relabelings"]
    ]
    port = {"source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": endpoint["port"], "action": "keep"}
    pod = {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"}
    named = {"target_label": "namespace", "replacement": namespace}
    found = {"role": "pod", "kubeconfig_file": os.environ["KUBECONFIG"], "namespaces": {"names": [namespace]}}
    return {"job_name": "pods", "kubernetes_sd_configs": [found], "relabel_configs": [port, pod, named, *given]}
