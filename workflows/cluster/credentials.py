"""Credentials that are read again: from a token file, a pod's service account, or a credential plugin."""

import base64
import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import requests

from jobs.contract.clock import ServerClock
from jobs.contract.exits import BadInput
from workflows.cluster.kubeconfig import API, ClusterEntry, Plugin

# A plugin that opens a browser without a terminal takes its time. One that prompts may take any.
PLUGIN_SECONDS: Final = 180
# Kubelets renew a pod's token long before its end; client-go reads the file every minute.
FILE_SECONDS: Final = 60.0
EARLY: Final = timedelta(seconds=30)  # a credential that is about to expire is renewed


@dataclass
class TokenFile:
    """A token in a file that somebody else renews."""

    path: Path
    first: str = ""  # used as long as the file cannot be read
    _read_at: float = -FILE_SECONDS
    _token: str = ""

    def apply(self, session: requests.Session, *, renew: bool = False) -> bool:
        """Read the file if a minute has passed, or ``renew``; return whether the token is another one."""
        if not renew and time.monotonic() - self._read_at < FILE_SECONDS:
            return False
        self._read_at = time.monotonic()
        try:
            token = self.path.read_text().strip()
        except OSError as error:
            if not (token := self._token or self.first):
                raise BadInput(f"The token file {self.path} cannot be read ({error.strerror}).") from error
        changed, self._token = token != self._token, token
        session.headers["Authorization"] = f"Bearer {token}"
        return changed


@dataclass
class PluginCredential:
    """What a credential plugin answers, asked again on refusal and before it expires."""

    plugin: Plugin
    cluster: ClusterEntry
    where: str
    clock: ServerClock
    tls: ssl.SSLContext
    _expires: datetime | None = None
    _answers: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def apply(self, session: requests.Session, *, renew: bool = False) -> bool:
        """Ask the plugin if it was not asked, its answer is about to expire, or ``renew``."""
        used = self._answers
        with self._lock:  # of several threads that were refused, one asks
            if renew and self._answers != used:
                return True
            if self._answers and not renew and (self._expires is None or self.clock.now() < self._expires - EARLY):
                return False
            status = ask_plugin(self.plugin, self.cluster, self.where)
            self._answers, self._expires = self._answers + 1, _time(status.get("expirationTimestamp"))
            if token := status.get("token"):
                session.headers["Authorization"] = f"Bearer {token}"
            if certificate := status.get("clientCertificateData"):
                key = status["clientKeyData"]
                load_client_certificate(self.tls, certificate.encode(), key.encode(), f"{self.where}: the plugin")
                session.close()  # its open connections present the certificate before
            return True


def ask_plugin(plugin: Plugin, cluster: ClusterEntry, where: str) -> dict[str, Any]:
    """Run a credential plugin in client-go's protocol and return the status of its answer.

    A plugin may prompt on the terminal if there is one and it does not say ``interactiveMode: Never``.

    Raises:
        BadInput: it is not installed, needs a terminal, fails, or answers nothing that can be used.
    """
    terminal = sys.stdin is not None and sys.stdin.isatty()
    interactive = terminal and plugin.interactive != "Never"
    if plugin.interactive == "Always" and not terminal:
        raise BadInput(f"{where}: {plugin.command} must prompt (interactiveMode: Always), and there is no terminal.")
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.provides_cluster:
        spec["cluster"] = _cluster_info(cluster)
    request = {"apiVersion": plugin.version, "kind": "ExecCredential", "spec": spec}
    environment = {**os.environ, **{variable.name: variable.value for variable in plugin.env}}
    environment["KUBERNETES_EXEC_INFO"] = json.dumps(request)
    command = [plugin.path, *plugin.args]
    try:
        done = subprocess.run(
            command, env=environment, stdin=None if interactive else subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=None if interactive else subprocess.PIPE, text=True, check=False,
            timeout=None if interactive else PLUGIN_SECONDS,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise BadInput(f"{where}: {plugin.command} is not installed. {plugin.hint}".strip()) from error
    except OSError as error:
        raise BadInput(f"{where}: {plugin.command} cannot be run ({error.strerror}). {plugin.hint}".strip()) from error
    except subprocess.TimeoutExpired as error:
        raise BadInput(f"{where}: {' '.join(command)} did not answer for {PLUGIN_SECONDS} s") from error
    if done.returncode:
        raise BadInput(f"{where}: {' '.join(command)} failed: {(done.stderr or '').strip() or done.returncode}")
    return _status(done.stdout, plugin, f"{where}: {' '.join(command)}")


def _status(answer: str, plugin: Plugin, what: str) -> dict[str, Any]:
    try:
        credential = json.loads(answer)
    except json.JSONDecodeError as error:
        raise BadInput(f"{what} returned no credential: its output is not JSON ({error})") from error
    if not isinstance(credential, dict) or credential.get("kind") != "ExecCredential":
        raise BadInput(f"{what} returned no credential: its output is not an ExecCredential")
    if credential.get("apiVersion") != plugin.version:
        raise BadInput(f"{what} answered in {credential.get('apiVersion')}, not in {plugin.version} as configured")
    status = credential.get("status")
    if not isinstance(status, dict) or not (status.get("token") or status.get("clientCertificateData")):
        raise BadInput(f"{what} returned no credential: neither a token nor a certificate")
    if bool(status.get("clientCertificateData")) != bool(status.get("clientKeyData")):
        raise BadInput(f"{what} returned half a credential: a certificate needs its key")
    _time(status.get("expirationTimestamp"))
    return status


def _time(text: Any) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(str(text))
    except ValueError as error:
        raise BadInput(f"A credential plugin returned the expirationTimestamp {text!r}, which is no time.") from error


def _cluster_info(cluster: ClusterEntry) -> Mapping[str, Any]:
    """The cluster for ``provideClusterInfo``, with the plugin's own extension."""
    authority = cluster.material("certificate-authority")
    named = [item for item in cluster.extensions or () if isinstance(item, dict)]
    extensions = {item.get("name"): item.get("extension") for item in named}
    info = {
        "server": cluster.server,
        "tls-server-name": cluster.tls_server_name,
        "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
        "certificate-authority-data": base64.b64encode(authority).decode() if authority else "",
        "proxy-url": cluster.proxy_url,
        "config": extensions.get(f"{API}/exec"),
    }
    return {name: value for name, value in info.items() if value}


def load_client_certificate(tls: ssl.SSLContext, certificate: bytes, key: bytes, where: str) -> None:
    """Present a client certificate from now on.

    OpenSSL reads both from files only. They exist for that moment, so that no killed process leaves a key behind.

    Raises:
        BadInput: they are not PEM, do not belong together, or the key has a passphrase.
    """
    with tempfile.TemporaryDirectory(prefix="cxrfold-kube-") as folder:
        paths = Path(folder, "client.crt"), Path(folder, "client.key")
        for path, content in zip(paths, (certificate, key), strict=True):
            path.write_bytes(content)
        try:
            tls.load_cert_chain(*paths, password=_no_passphrase)
        except ssl.SSLError as error:
            problem = getattr(error, "reason", None) or error
            raise BadInput(f"{where}: client-certificate and client-key cannot be used ({problem})") from error


def _no_passphrase() -> str:
    raise BadInput("The client key of the kubeconfig has a passphrase, which Kubernetes' clients do not support.")
