import base64
import gzip
import json
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
import yaml

from jobs.contract.exits import BadInput, ServiceAway
from jobs.contract.profile import Profile
from tests.workflows.fake_cluster import FakeCluster, fake_cluster
from workflows.cluster import argo_server, http
from workflows.cluster.argo_server import ArgoServer
from workflows.cluster.client import Cluster
from workflows.cluster.http import Exists, Forbidden, Http, NotThere, Unauthorized


@pytest.fixture(autouse=True)
def no_cluster_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ARGO_SERVER", "ARGO_TOKEN", "ARGO_NAMESPACE", "ARGO_BASE_HREF", "ARGO_INSTANCEID", "ARGO_SECURE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setattr(http, "PAUSES", (0.0, 0.0, 0.0))


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    with fake_cluster() as server:
        yield server


@pytest.fixture(params=["argo", "kubernetes"])
def cluster(
    request: pytest.FixtureRequest, fake: FakeCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Cluster:
    if request.param == "argo":
        monkeypatch.setenv("ARGO_SERVER", fake.address)
        monkeypatch.setenv("ARGO_SECURE", "false")
        monkeypatch.setenv("ARGO_TOKEN", "Bearer secret")
    else:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, fake.address, {"token": "secret"})))
    return Cluster.connect(Profile(namespace="films"))


def kubeconfig(folder: Path, address: str, user: dict[str, object]) -> Path:
    path = folder / "kubeconfig"
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "one", "user": "me", "namespace": "of-the-context"}}],
        "clusters": [{"name": "one", "cluster": {"server": f"http://{address}"}}],
        "users": [{"name": "me", "user": user}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def workflow(name: str, run: str = "demo") -> dict[str, object]:
    return {"metadata": {"name": name, "labels": {"cxrfold/run": run}}, "spec": {}}


def test_a_workflow_is_created_listed_by_its_run_stopped_and_removed(cluster: Cluster, fake: FakeCluster) -> None:
    cluster.workflows.create("films", workflow("demo-1"))
    cluster.workflows.create("films", workflow("other-1", run="other"))
    assert [one["metadata"]["name"] for one in cluster.workflows.list("films", "cxrfold/run=demo")] == ["demo-1"]
    cluster.workflows.stop("films", "demo-1")
    assert fake.workflows["demo-1"]["spec"]["shutdown"] == "Stop"
    cluster.workflows.delete("films", "demo-1")
    assert set(fake.workflows) == {"other-1"}
    sent = {headers.get("Authorization") for _, _, headers in fake.requests}
    assert sent == {"Bearer secret" if isinstance(cluster.workflows, ArgoServer) else None}  # not without TLS


def test_an_empty_list_is_a_list(cluster: Cluster) -> None:
    assert cluster.workflows.list("films", "cxrfold/run=none") == []


def test_a_name_that_is_taken_and_one_that_is_missing_are_told_apart(cluster: Cluster) -> None:
    cluster.workflows.create("films", workflow("demo-1"))
    with pytest.raises(Exists, match="already exists"):
        cluster.workflows.create("films", workflow("demo-1"))
    with pytest.raises(NotThere, match="not found"):
        cluster.workflows.delete("films", "demo-2")


@pytest.mark.parametrize("mood", [[503, 502], [0, 500], [429]])
def test_a_moody_server_is_asked_again(cluster: Cluster, fake: FakeCluster, mood: list[int]) -> None:
    fake.answers = mood
    assert cluster.workflows.list("films") == []


def test_a_server_that_stays_away_is_a_sentence_with_its_own_exit_code(cluster: Cluster, fake: FakeCluster) -> None:
    fake.answers = [503] * 10
    with pytest.raises(ServiceAway, match=r"does not answer: 503 moody") as error:
        cluster.workflows.list("films")
    assert error.value.exit == 69


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [(401, Unauthorized, "does not accept the credentials: moody"), (403, Forbidden, "denies access: moody")],
)
def test_a_stranger_and_somebody_without_the_right_are_told_apart_and_not_tried_again(
    cluster: Cluster, fake: FakeCluster, status: int, error: type[BadInput], says: str
) -> None:
    fake.answers = [status]
    with pytest.raises(error, match=says):
        cluster.workflows.list("films")
    assert len(fake.requests) == 1


def test_a_page_in_place_of_json_is_a_sentence(cluster: Cluster, fake: FakeCluster) -> None:
    fake.pages = ["<html>Log in</html>"]
    with pytest.raises(BadInput, match=r"something other than JSON \(text/html\)"):
        cluster.workflows.list("films")


def test_a_broken_handshake_is_a_hiccup_and_a_strange_certificate_is_not(fake: FakeCluster) -> None:
    server = Http("https://k", "Kubernetes", "", requests.Session())

    def failing(*errors: Exception) -> requests.Session:
        left = list(errors)

        def request(*_: object, **__: object) -> requests.Response:
            if left:
                raise requests.exceptions.SSLError from left.pop(0)
            answer = requests.Response()
            answer.status_code = 200
            return answer

        return SimpleNamespace(request=request)  # type: ignore[return-value]

    broken = ssl.SSLEOFError(8, "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred")
    assert replace(server, session=failing(_inside(broken), _inside(broken))).get("/version") == {}
    strange = ssl.SSLCertVerificationError(1, "self-signed certificate")
    with pytest.raises(BadInput, match=r"its certificate is not trusted"):
        replace(server, session=failing(_inside(strange))).get("/version")


def _inside(error: Exception) -> Exception:
    """An error as urllib3 wraps it."""
    outer = OSError("max retries exceeded")
    outer.__cause__ = error
    return outer


def test_nothing_listens_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_SERVER", "127.0.0.1:9")
    monkeypatch.setenv("ARGO_SECURE", "false")
    with pytest.raises(ServiceAway, match=r"127\.0\.0\.1:9 does not answer.*ARGO_SERVER"):
        Cluster.connect().workflows.list("films")


def test_without_any_cluster_the_sentence_names_both_ways() -> None:
    with pytest.raises(BadInput, match=r"ARGO_SERVER.*KUBECONFIG"):
        Cluster.connect()
    assert Cluster.find() is None


def test_the_lines_of_a_log_come_from_argos_stream(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_SERVER", fake.address)
    monkeypatch.setenv("ARGO_SECURE", "false")
    fake.workflows["demo-1"] = workflow("demo-1")
    fake.logs["pod-1"] = ["one", "", "zwölf"]
    lines = Cluster.connect().workflows.log("films", "demo-1", "pod-1", follow=False, since=None)
    assert list(lines) == ["one", "", "zwölf"]


def test_argos_base_path_and_page(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_SERVER", fake.address)
    monkeypatch.setenv("ARGO_SECURE", "false")
    monkeypatch.setenv("ARGO_BASE_HREF", "/argo/")
    fake.objects["/argo/api/v1/version"] = {"version": "v4.1.2"}
    workflows = Cluster.connect().workflows
    assert workflows.version() == "v4.1.2"
    assert workflows.page("films", "demo-1") == f"http://{fake.address}/argo/workflows/films/demo-1"


def test_the_namespace_is_the_profiles_then_the_environments_then_the_contexts(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, fake.address, {})))
    assert Cluster.connect().namespace == "of-the-context"
    monkeypatch.setenv("ARGO_NAMESPACE", "of-argo")
    assert Cluster.connect().namespace == "of-argo"
    assert Cluster.connect(Profile(namespace="films")).namespace == "films"


def test_packed_nodes_are_unpacked_where_no_server_does_it(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, fake.address, {})))
    packed = base64.b64encode(gzip.compress(json.dumps({"n": {"phase": "Running"}}).encode())).decode()
    fake.workflows["demo-1"] = workflow("demo-1") | {"status": {"compressedNodes": packed}}
    assert Cluster.connect().workflows.list("films")[0]["status"]["nodes"] == {"n": {"phase": "Running"}}


def test_a_template_and_a_schedule_are_created_and_then_changed(fake: FakeCluster, cluster: Cluster) -> None:
    for spec in ({"a": 1}, {"a": 2}):
        for kind in ("WorkflowTemplate", "CronWorkflow"):
            manifest = {"kind": kind, "metadata": {"name": "nightly"}, "spec": spec}
            cluster.workflows.apply("films", manifest)
    found = {kind: one["spec"] for (kind, _), one in fake.lasting.items()}
    assert found == {"WorkflowTemplate": {"a": 2}, "CronWorkflow": {"a": 2}}


def test_a_schedule_waits_until_argo_knows_its_template(
    fake: FakeCluster, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(argo_server, "TEMPLATE_SEEN_PAUSE", 0.0)
    fake.unseen = 3
    cluster.workflows.apply("films", {"kind": "CronWorkflow", "metadata": {"name": "nightly"}})
    assert ("CronWorkflow", "nightly") in fake.lasting


def test_a_schedule_whose_template_never_comes_is_refused(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_SERVER", fake.address)
    monkeypatch.setenv("ARGO_SECURE", "false")
    monkeypatch.setattr(argo_server, "TEMPLATE_SEEN_SECONDS", 0.0)
    fake.unseen = 1000
    with pytest.raises(BadInput, match='"nightly" not found'):
        ArgoServer.from_environment().apply("films", {"kind": "CronWorkflow", "metadata": {"name": "nightly"}})
