"""``render`` prints, ``submit`` sends and ``run`` executes one manifest."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from jobs.contract.exits import Exit
from jobs.runtime.store import Store
from tests.workflows.fake_cluster import FakeCluster, fake_cluster
from workflows.commands.doctor import examine
from workflows.cv import app
from workflows.local import execute
from workflows.local.engine import Engine, Result
from workflows.manifest import dag
from workflows.manifest.spec import RunSpec, TestSet
from workflows.settings.files import load_experiment, load_profile

OPTIONS = ["-e", "demo", "--folds", "0,2", "--set", "seed=7", "--run", "mine", "--profile", "kit"]
TEST_SET = TestSet(source="phantom:patients=3,seed=1", from_run="demo-1", overlap="refuse")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    monkeypatch.setattr(examine, "examine", lambda *_, **__: [])
    with fake_cluster() as server:
        monkeypatch.setenv("ARGO_SERVER", server.address)
        monkeypatch.setenv("ARGO_SECURE", "false")
        monkeypatch.setenv("KUBECONFIG", "/none")
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("test_set", [None, TEST_SET], ids=["training", "test set"])
def test_what_is_printed_sent_and_executed_is_one_manifest(
    test_set: TestSet | None, fake: FakeCluster, s3_store: Store, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jobs.runtime.provenance.revision", lambda: "0123abcd")
    executed: list[dict[str, Any]] = []
    read = execute.read  # type: ignore[attr-defined]
    monkeypatch.setattr(execute, "read", lambda manifest: executed.append(manifest) or read(manifest))  # type: ignore[func-returns-value]
    monkeypatch.setattr(Engine, "run", lambda _: Result((), Exit.BUG, 0.0))
    options = [*OPTIONS, *(["--predict", test_set.source, "--from", test_set.from_run] if test_set else [])]

    printed = CliRunner().invoke(app, ["render", *options], catch_exceptions=False)
    CliRunner().invoke(app, ["run", *options], catch_exceptions=False)
    CliRunner().invoke(app, ["submit", *options], catch_exceptions=False)
    sent = {key: value for key, value in fake.workflows["mine-1"].items() if key != "status"}

    experiment = load_experiment("demo", ["seed=7"], folds=[0, 2])
    spec = RunSpec.of(experiment, load_profile("kit"), revision="0123abcd", run="mine", test_set=test_set)
    expected = dag.manifest(spec)
    assert yaml.safe_load(printed.stdout) == expected
    assert executed == [expected]
    assert sent["metadata"].pop("name") == "mine-1"
    assert sent["metadata"] | {"generateName": "mine-"} == expected["metadata"]
    assert sent["spec"] == expected["spec"]
    order = json.loads(expected["metadata"]["annotations"]["cxrfold/order"])
    assert order.get("test_set") == (test_set and test_set.model_dump())
