"""Access to Kubernetes: a kubeconfig, read as kubectl does, or the service account of the current pod."""

import atexit
import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests

from jobs.contract.exits import BadInput
from jobs.contract.text_files import read_text
from workflows.cluster.http import Http, new_session
from workflows.settings.tree import load_yaml

IN_CLUSTER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
EXEC_SECONDS: Final = 60


@dataclass(frozen=True)
class Access:
    """Access to Kubernetes, and the namespace of its context."""

    http: Http
    namespace: str | None


def find_access() -> Access | None:
    """Return the access that ``kubectl`` would use; None if there is none.

    Raises:
        BadInput: a kubeconfig exists and cannot be used.
    """
    named = os.environ.get("KUBECONFIG")
    files = [Path(file) for file in named.split(os.pathsep) if file] if named else [Path.home() / ".kube" / "config"]
    files = [file for file in files if file.is_file()]
    if files:
        return _from_files(files)
    if (IN_CLUSTER / "token").is_file() and "KUBERNETES_SERVICE_HOST" in os.environ:
        return _from_pod()
    return None


def _from_files(files: list[Path]) -> Access:
    config = _merged(files)
    where = ", ".join(str(file) for file in files)
    current = config.get("current-context")
    if not current:
        raise BadInput(f"{where}: no current-context; kubectl config use-context NAME sets it")
    context = _named(config, "contexts", current, where)
    cluster = _named(config, "clusters", context.get("cluster"), where)
    user = _named(config, "users", context["user"], where) if context.get("user") else {}
    if not isinstance(cluster.get("server"), str):
        raise BadInput(f"{where}: the cluster {context.get('cluster')} has no server; add its URL")
    server = cluster["server"].rstrip("/")
    session = new_session(server)
    if proxy := cluster.get("proxy-url"):
        session.proxies = {"https": proxy, "http": proxy}
    _trust(session, cluster)
    _identify(session, user, where)
    http = Http(server, "Kubernetes", f"Check {where}; does kubectl version work?", session)
    return Access(http, context.get("namespace"))


def _from_pod() -> Access:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    server = f"https://{host}:{port}"
    session = new_session(server)
    session.verify = str(IN_CLUSTER / "ca.crt")
    session.headers["Authorization"] = f"Bearer {(IN_CLUSTER / 'token').read_text().strip()}"
    http = Http(server, "Kubernetes", "The service account of this pod was used.", session)
    return Access(http, (IN_CLUSTER / "namespace").read_text().strip())


def _merged(files: list[Path]) -> dict[str, Any]:
    """Merge as kubectl does: the first file that defines a name wins. Paths in a file are relative to it."""
    merged: dict[str, Any] = {}
    for file in files:
        content = load_yaml(read_text(file), str(file))
        try:
            for kind in ("clusters", "contexts", "users"):
                items = merged.setdefault(kind, {})
                for item in content.get(kind) or ():
                    body = item.get(kind.removesuffix("s")) or {}
                    items.setdefault(item["name"], {**body, "_folder": file.parent})
            if content.get("current-context"):
                merged.setdefault("current-context", content["current-context"])
        except (AttributeError, KeyError, TypeError) as error:
            raise BadInput(
                f"{file}: is no kubeconfig: clusters, contexts and users must be lists of mappings with a name; "
                "kubectl config view prints a valid one"
            ) from error
    return merged


def _named(config: dict[str, Any], kind: str, name: Any, where: str) -> dict[str, Any]:
    if name not in config[kind]:
        raise BadInput(f"{where}: no {kind.removesuffix('s')} is named {name}")
    entry: dict[str, Any] = config[kind][name]
    return entry


def _trust(session: requests.Session, cluster: Mapping[str, Any]) -> None:
    if cluster.get("insecure-skip-tls-verify"):
        session.verify = False
        requests.packages.urllib3.disable_warnings()  # type: ignore[attr-defined] # the kubeconfig asks for it
    elif authority := _file(cluster, "certificate-authority"):
        session.verify = authority


def _identify(session: requests.Session, user: Mapping[str, Any], where: str) -> None:
    if user.get("exec"):
        user = {**user, **_ask_plugin(user["exec"], where)}
    elif user.get("auth-provider"):
        raise BadInput(
            f"{where}: auth-provider was removed from Kubernetes; use an exec plugin (kubelogin, "
            "gke-gcloud-auth-plugin)"
        )
    certificate, key = _file(user, "client-certificate"), _file(user, "client-key")
    if certificate and key:
        session.cert = (certificate, key)
    token = user.get("token")
    if not token and user.get("tokenFile"):
        token = (user["_folder"] / user["tokenFile"]).read_text().strip()
    if token:
        session.headers["Authorization"] = f"Bearer {token}"
    elif user.get("username"):
        session.auth = (user["username"], user.get("password") or "")


def _ask_plugin(plugin: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Run a credential plugin (aws eks get-token, gke-gcloud-auth-plugin, kubelogin …), in client-go's protocol."""
    command = [plugin["command"], *(plugin.get("args") or ())]
    given = {item["name"]: item["value"] for item in plugin.get("env") or ()}
    version = plugin.get("apiVersion", "client.authentication.k8s.io/v1")
    request = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    environment = {**os.environ, **given, "KUBERNETES_EXEC_INFO": json.dumps(request)}
    try:
        answer = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=EXEC_SECONDS, check=True
        ).stdout
        status = json.loads(answer)["status"]
    except FileNotFoundError as error:
        raise BadInput(f"{where}: {command[0]} is not installed. {plugin.get('installHint') or ''}".strip()) from error
    except subprocess.CalledProcessError as error:
        raise BadInput(f"{where}: {' '.join(command)} failed: {error.stderr.strip()}") from error
    except (subprocess.TimeoutExpired, json.JSONDecodeError, KeyError) as error:
        raise BadInput(f"{where}: {' '.join(command)} returned no credential: {error}") from error
    fields = {"token": "token", "client-certificate-data": "clientCertificateData", "client-key-data": "clientKeyData"}
    credential = {name: status[theirs] for name, theirs in fields.items() if status.get(theirs)}
    for name in ("client-certificate-data", "client-key-data"):  # plain PEM here, base64 in a kubeconfig
        if name in credential:
            credential[name] = base64.b64encode(credential[name].encode()).decode()
    return credential


def _file(entry: Mapping[str, Any], name: str) -> str | None:
    """Path of a certificate or key; inline data is written to a file that exists as long as this process."""
    if data := entry.get(f"{name}-data"):
        folder = tempfile.mkdtemp(prefix="cxrfold-kube-")  # readable only by its owner
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        path = Path(folder) / name
        try:
            path.write_bytes(base64.b64decode(data))
        except ValueError as error:
            raise BadInput(f"the kubeconfig's {name}-data is not base64 ({error}); copy it whole") from error
        return str(path)
    return str(entry["_folder"] / entry[name]) if entry.get(name) else None
