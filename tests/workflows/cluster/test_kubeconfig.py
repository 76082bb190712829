"""Valid and invalid kubeconfigs, with kubectl's recorded verdict, which is checked again if kubectl is installed."""

import base64
import json
import os
import shutil
import ssl
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.contract.exits import BadInput, StageError
from tests.workflows.cluster.conftest import NAME
from tests.workflows.fake_cluster import FakeCluster, fake_cluster
from workflows.cluster import http
from workflows.cluster.access import find_access
from workflows.cluster.kubernetes import Kubernetes

Config = dict[str, Any]
V1 = "client.authentication.k8s.io/v1"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def plugin(folder: Path, answer: object, name: str = "plugin") -> None:
    """A credential plugin that prints an answer and records its request."""
    script = folder / name
    record = f"echo \"$KUBERNETES_EXEC_INFO\" >>'{folder}/asked'"
    script.write_text(f"#!/bin/sh\n{record}\nprintf '%s' '{json.dumps(answer)}'\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)


def credential(version: str = V1, **status: str) -> Config:
    return {"apiVersion": version, "kind": "ExecCredential", "status": status}


def asks(answer: object = None, **changes: object) -> Callable[[Config, Path], None]:
    """A user whose credentials come from a plugin in the kubeconfig's folder, named by a relative path."""

    def change(config: Config, folder: Path) -> None:
        plugin(folder, credential(token="of the plugin") if answer is None else answer)
        entry = {"apiVersion": V1, "command": "./plugin", "interactiveMode": "Never", **changes}
        config["users"][0]["user"] = {"exec": {key: value for key, value in entry.items() if value is not None}}

    return change


def certified(kind: str) -> Callable[[Config, Path], None]:
    """A user with the certificate or key of the server, by kind: both, certificate."""

    def change(config: Config, folder: Path) -> None:
        entry = {"client-certificate-data": encoded((folder / "tls.crt").read_text()), "client-key": "tls.key"}
        config["users"][0]["user"] = entry if kind == "both" else {"client-certificate": "tls.crt"}

    return change


def user(**entry: object) -> Callable[[Config, Path], None]:
    return lambda config, _: config["users"][0].update(
        user={key.replace("_", "-"): item for key, item in entry.items()}
    )


def cluster(**entry: object) -> Callable[[Config, Path], None]:
    named = {key.replace("_", "-"): item for key, item in entry.items()}
    return lambda config, _: config["clusters"][0]["cluster"].update(named)


def token_file(config: Config, folder: Path) -> None:
    (folder / "token").write_text("of the file\n")
    config["users"][0]["user"] = {"tokenFile": "token"}


@dataclass(frozen=True)
class Case:
    """A kubeconfig: what kubectl says of it, what this pipeline says, and the headers that a request carries.

    An empty verdict means that the kubeconfig is accepted and a request arrives.
    """

    name: str
    change: Callable[[Config, Path], object]
    kubectl: str = ""
    ours: str = ""
    headers: dict[str, str] = field(default_factory=dict)


BEARER = "Authorization"
MINE = {BEARER: "Bearer mine"}
KUBECTLS = {"misspelt key": {BEARER: "Bearer secret"}}  # what kubectl sends where this pipeline refuses
CASES = [
    Case("token", user(token="secret"), headers={BEARER: "Bearer secret"}),
    Case("token file, relative", token_file, headers={BEARER: "Bearer of the file"}),
    Case("password", user(username="ana", password="secret"), headers={BEARER: f"Basic {encoded('ana:secret')}"}),
    # kubectl asks for a name and a password; here the server decides what a stranger may do.
    Case("nobody", user(), "error: EOF"),
    Case(
        "impersonation",
        lambda config, _: config["users"][0].update(
            user={"token": "secret", "as": "ana", "as-uid": "7", "as-groups": ["one"], "as-user-extra": {"why": ["so"]}}
        ),
        headers={
            BEARER: "Bearer secret",
            "Impersonate-User": "ana",
            "Impersonate-Uid": "7",
            "Impersonate-Group": "one",
            "Impersonate-Extra-Why": "so",
        },
    ),
    Case("plugin by a relative path", asks(), headers={BEARER: "Bearer of the plugin"}),
    Case("plugin that is told the cluster", asks(provideClusterInfo=True), headers={BEARER: "Bearer of the plugin"}),
    Case(
        "plugin of v1beta1 without interactiveMode",
        asks(
            credential("client.authentication.k8s.io/v1beta1", token="old"),
            interactiveMode=None,
            apiVersion="client.authentication.k8s.io/v1beta1",
        ),
        headers={BEARER: "Bearer old"},
    ),
    Case("context without a user", lambda config, _: config["contexts"][0]["context"].pop("user"), "error: EOF"),
    Case("client certificate", certified("both")),
    Case("another name than the address", cluster(server="https://localhost:0"), "not localhost", "not trusted"),
    Case("its name in the certificate", cluster(server="https://localhost:0", tls_server_name=NAME), headers=MINE),
    Case("another name in the certificate", cluster(tls_server_name="other"), "not other", "not trusted"),
    Case(
        "not verified",
        lambda config, _: config["clusters"][0].update(
            cluster={"server": "https://127.0.0.1:0", "insecure-skip-tls-verify": True}
        ),
        headers=MINE,
    ),
    Case(
        "no authority",
        lambda config, _: config["clusters"][0]["cluster"].pop("certificate-authority"),
        "unknown authority",
        "not trusted",
    ),
    Case("http to a server of TLS", cluster(server="http://127.0.0.1:0"), "connection reset", "does not answer"),
    Case(
        "null entries", user(token="secret", client_certificate=None, tokenFile=None), headers={BEARER: "Bearer secret"}
    ),
    # Refused by both.
    Case("groups without a user", user(as_groups=["one"]), "without impersonating a user", "need as"),
    Case("token and password", user(token="secret", username="ana"), "more than one authentication method", "keep one"),
    Case(
        "plugin without apiVersion", asks(apiVersion=None), "apiVersion must be specified", "apiVersion: Field required"
    ),
    Case("plugin without a command", asks(command=""), "command must be specified", "needs a command"),
    Case(
        "plugin without interactiveMode",
        asks(interactiveMode=None),
        "interactiveMode must be specified",
        "interactiveMode is required",
    ),
    Case("plugin that must prompt", asks(interactiveMode="Always"), "standard input is", "there is no terminal"),
    Case(
        "plugin of another version", asks(credential(f"{V1}beta1", token="x")), "plugin returned version", "answered in"
    ),
    Case("plugin without a credential", asks(credential()), "didn't return a token or cert", "neither a token nor"),
    Case(
        "certificate without its key",
        asks(credential(clientCertificateData="-----BEGIN")),
        "returned only certificate or key, not both",
        "half a credential",
    ),
    Case("plugin that says hello", asks("hello"), "decoding", "not an ExecCredential"),
    Case("certificate and no key", certified("certificate"), "must be specified", "client-key"),
    Case("auth-provider", user(auth_provider={"name": "gcp"}), "gcp auth plugin has been removed", "exec plugin"),
    Case("no such user", lambda config, _: config.update(users=[]), "error: EOF", "no user is named"),
    Case("no such cluster", lambda config, _: config.update(clusters=[]), "localhost:8080", "no cluster"),
    Case("cluster without a server", cluster(server=""), "localhost:8080", "is not an address"),
    Case("both authorities", cluster(certificate_authority_data="eA=="), "both", "keep one"),
    Case("authority that is not there", cluster(certificate_authority="ca.crt"), "unable to read", "cannot be read"),
    Case(
        "authority that is no certificate",
        lambda config, folder: (
            (folder / "ca.crt").write_text("x"),
            config["clusters"][0]["cluster"].update({"certificate-authority": "ca.crt"}),
        ),
        "unable to parse bytes as PEM block",
        "holds no PEM certificate",
    ),
    Case("authority and no verification", cluster(insecure_skip_tls_verify=True), "not allowed", "contradict"),
    Case("proxy of no kind", cluster(proxy_url="ftp://proxy"), "invalid 'proxy-url'", "write http://"),
    Case("token file that is not there", user(tokenFile="gone"), "no such file", "tokenFile .*gone cannot be read"),
    Case("data that is not base64", user(client_key_data="?"), "illegal base64", "is not base64"),
    Case("clusters as a map", lambda config, _: config.update(clusters={"one": {}}), "cannot unmarshal", "not a list"),
    Case("args as text", asks(args="-v"), "cannot unmarshal", "args: Input should be"),
    # kubectl passes these over, or talks to another server.
    Case("misspelt key", user(token="secret", tokn="secret"), "", "tokn: this key is not understood"),
    Case("no current context", lambda config, _: config.pop("current-context"), "localhost:8080", "no current-context"),
]


@pytest.fixture
def kubeconfig(
    request: pytest.FixtureRequest, tmp_path: Path, tls: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Case, FakeCluster]]:
    """A server, and a case's kubeconfig for it."""
    shutil.copytree(tls, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(http, "PAUSES", ())
    with fake_cluster(tls) as fake:
        fake.objects["/version"] = {"gitVersion": "v1.36.3"}
        config: Config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "one", "user": "me"}}],
            "clusters": [{"name": "one", "cluster": {
                "server": f"https://{fake.address}", "certificate-authority": "tls.crt"}}],
            "users": [{"name": "me", "user": {"token": "mine"}}],
        }  # fmt: skip
        request.param.change(config, tmp_path)
        text = yaml.safe_dump(config).replace(":0\n", f":{fake.address.rsplit(':', 1)[-1]}\n")
        (tmp_path / "config").write_text(text)
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        yield request.param, fake


def given(case: Case, fake: FakeCluster) -> None:
    """The headers of the request that arrived are those of the case, and no other credential."""
    sent = {name.lower(): value for name, value in fake.requests[-1][2].items()}
    credentials = {name for name in sent if name == BEARER.lower() or name.startswith("impersonate")}
    assert {name: sent[name] for name in credentials} == {name.lower(): value for name, value in case.headers.items()}


def ask() -> str:
    access = find_access()
    assert access
    return Kubernetes(access.http).version()


@pytest.mark.parametrize("kubeconfig", CASES, indirect=True, ids=lambda case: case.name)
def test_a_kubeconfig_is_accepted_or_refused_with_a_sentence(kubeconfig: tuple[Case, FakeCluster]) -> None:
    case, fake = kubeconfig
    if case.ours:
        with pytest.raises(StageError, match=case.ours) as error:
            ask()
        assert os.environ["KUBECONFIG"] in str(error.value)
        return
    assert ask() == "v1.36.3"
    given(case, fake)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl in PATH")
@pytest.mark.parametrize("kubeconfig", CASES, indirect=True, ids=lambda case: case.name)
def test_kubectl_says_what_the_table_says(kubeconfig: tuple[Case, FakeCluster]) -> None:
    case, fake = kubeconfig
    done = subprocess.run(
        ["kubectl", "get", "--raw", "/version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if case.kubectl:
        assert done.returncode
        assert case.kubectl in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        given(Case("", case.change, headers=case.headers or KUBECTLS.get(case.name, {})), fake)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("clusters: [", "not valid YAML"),
        ("- one\n- two", "a kubeconfig is a map"),
        ("clusters: [one]", "every entry of clusters needs a name"),
        ("users: [{name: me, user: token}]", "user me is not a map"),
        ("contexts: [{name: c, context: {cluster: [1]}}]\ncurrent-context: c", "cluster is not a name"),
        ("current-context: c", "no context is named 'c'"),
        ("", "no current-context"),
        ("\x00\x01", "not valid YAML"),
    ],
)
def test_malformed_files_are_sentences(
    content: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    with pytest.raises(BadInput, match=says):
        find_access()


def test_a_folder_is_no_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path))
    with pytest.raises(BadInput, match="cannot be read"):
        find_access()


@pytest.mark.parametrize("kubeconfig", [Case("", user(**{"as": "ana", "as-groups": ["one", "two"]}))], indirect=True)
def test_every_group_to_act_as_is_sent(kubeconfig: tuple[Case, FakeCluster]) -> None:
    assert ask() == "v1.36.3"
    assert kubeconfig[1].groups == [["one", "two"]]


@pytest.mark.parametrize("kubeconfig", [Case("", asks(provideClusterInfo=True))], indirect=True)
def test_a_plugin_is_told_the_cluster_it_is_asked_for(kubeconfig: tuple[Case, FakeCluster], tmp_path: Path) -> None:
    ask()
    asked = json.loads((tmp_path / "asked").read_text())
    authority = encoded((tmp_path / "tls.crt").read_text())
    server = {"server": f"https://{kubeconfig[1].address}", "certificate-authority-data": authority}
    assert asked["spec"] == {"interactive": False, "cluster": server}


def test_the_first_file_that_defines_a_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, token in (("one", "first"), ("two", "second")):
        (tmp_path / name).write_text(yaml.safe_dump({"users": [{"name": "me", "user": {"token": token}}]}))
    (tmp_path / "three").write_text(
        "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: me}}]\n"
        "clusters: [{name: k, cluster: {server: 'https://k'}}]"
    )
    files = [str(tmp_path / name) for name in ("one", "gone", "two", "three")]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(files))
    access = find_access()
    assert access
    assert access.http.session.headers["Authorization"] == "Bearer first"


@pytest.mark.parametrize("kubeconfig", [Case("", asks())], indirect=True)
def test_a_plugin_is_asked_again_when_its_token_is_refused(
    kubeconfig: tuple[Case, FakeCluster], tmp_path: Path
) -> None:
    access = find_access()
    assert access
    access.http.get("/version")
    plugin(tmp_path, credential(token="renewed"))
    kubeconfig[1].answers = [401]
    access.http.get("/version")
    assert kubeconfig[1].requests[-1][2]["Authorization"] == "Bearer renewed"
    assert len((tmp_path / "asked").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "kubeconfig", [Case("", asks(credential(token="short", expirationTimestamp="2026-01-01T00:00:00Z")))], indirect=True
)
def test_a_plugin_is_asked_again_when_its_token_expires(kubeconfig: tuple[Case, FakeCluster], tmp_path: Path) -> None:
    access = find_access()
    assert access
    access.http.get("/version")
    plugin(tmp_path, credential(token="next"))
    access.http.get("/version")
    assert kubeconfig[1].requests[-1][2]["Authorization"] == "Bearer next"


@pytest.mark.parametrize("kubeconfig", [Case("", token_file)], indirect=True)
def test_a_token_file_is_read_again_when_its_token_is_refused(
    kubeconfig: tuple[Case, FakeCluster], tmp_path: Path
) -> None:
    access = find_access()
    assert access
    access.http.get("/version")
    (tmp_path / "token").write_text("renewed")
    kubeconfig[1].answers = [401]
    access.http.get("/version")
    assert kubeconfig[1].requests[-1][2]["Authorization"] == "Bearer renewed"


@pytest.mark.parametrize("kubeconfig", [Case("", asks())], indirect=True)
def test_a_plugins_failure_and_its_absence_are_told(kubeconfig: tuple[Case, FakeCluster], tmp_path: Path) -> None:
    (tmp_path / "plugin").write_text("#!/bin/sh\necho who? >&2\nexit 3\n")
    with pytest.raises(BadInput, match=r"plugin failed: who\?"):
        ask()
    (tmp_path / "plugin").unlink()
    with pytest.raises(BadInput, match=r"\./plugin is not installed"):
        ask()


def presented(folder: Path, name: str) -> bytes:
    """A certificate as a server sees it."""
    return ssl.PEM_cert_to_DER_cert((folder / f"{name}.crt").read_text())


@pytest.mark.parametrize("kubeconfig", [Case("", certified("both"))], indirect=True)
def test_a_client_certificate_is_presented_and_its_key_is_left_in_no_file(
    kubeconfig: tuple[Case, FakeCluster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    access = find_access()
    assert access
    assert list((tmp_path / "temporary").iterdir()) == []
    assert access.http.get("/version")
    assert kubeconfig[1].certificates == [presented(tmp_path, "tls")]


def with_certificate(folder: Path, name: str) -> Config:
    certificate, key = ((folder / f"{name}.{kind}").read_text() for kind in ("crt", "key"))
    return credential(clientCertificateData=certificate, clientKeyData=key)


@pytest.mark.parametrize("kubeconfig", [Case("", asks())], indirect=True)
def test_a_plugins_certificate_is_replaced_when_it_is_refused(
    kubeconfig: tuple[Case, FakeCluster], tmp_path: Path
) -> None:
    plugin(tmp_path, with_certificate(tmp_path, "tls"))
    access = find_access()
    assert access
    access.http.get("/version")
    plugin(tmp_path, with_certificate(tmp_path, "other"))
    kubeconfig[1].answers = [401]
    access.http.get("/version")
    before, after = presented(tmp_path, "tls"), presented(tmp_path, "other")
    assert kubeconfig[1].certificates == [before, before, after]


def test_nothing_is_sent_without_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_cluster() as fake:
        fake.objects["/version"] = {"gitVersion": "v1"}
        (tmp_path / "config").write_text(yaml.safe_dump({
            "current-context": "here", "contexts": [{"name": "here", "context": {"cluster": "one", "user": "me"}}],
            "clusters": [{"name": "one", "cluster": {"server": f"http://{fake.address}"}}],
            "users": [{"name": "me", "user": {"token": "secret"}}],
        }))  # fmt: skip
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        assert ask() == "v1"
        assert "Authorization" not in fake.requests[-1][2]
