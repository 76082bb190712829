"""A cluster without runs, and one with a run of release 0.1 that has every kind of failure."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.fake_cluster import FakeCluster, fake_cluster
from workflows.runs.finding.find import find_run
from workflows.runs.run import Run
from workflows.store import opening

HERE = Path(__file__).parent


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    """A cluster without runs, reached through Argo's server."""
    with fake_cluster() as server:
        monkeypatch.setenv("ARGO_SERVER", server.address)
        monkeypatch.setenv("ARGO_SECURE", "false")
        monkeypatch.setenv("KUBECONFIG", "/none")
        yield server


@pytest.fixture
def failed(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """A cluster that has a run with every kind of failure; its store cannot be reached."""
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    monkeypatch.setattr(opening, "CONNECT_SECONDS", 0.2)
    workflow: dict[str, Any] = json.loads((HERE / "argo_failed.json").read_text())
    annotations = workflow["metadata"]["annotations"]
    annotations["cxrfold/submission"] = annotations["cxrfold/submission"].replace("minio.example:9000", "127.0.0.1:9")
    fake.workflows["fake1-1"] = workflow
    return fake


@pytest.fixture
def run(failed: FakeCluster) -> Iterator[Run]:
    """The failed run."""
    with find_run("fake1") as found:
        yield found
