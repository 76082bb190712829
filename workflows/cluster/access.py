"""Access to Kubernetes: that of kubectl's current context, or of the service account of the current pod."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPHeaderDict

from jobs.contract.clock import ServerClock
from jobs.contract.exits import BadInput
from workflows.cluster.credentials import PluginCredential, TokenFile, client_certificate, private_file
from workflows.cluster.http import Authenticator, Http, new_session
from workflows.cluster.kubeconfig import ClusterEntry, KubeContext, UserEntry, read_context

IN_CLUSTER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


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
    if files := [file for file in kubeconfigs() if file.exists()]:
        return of_context(read_context(files))
    if (IN_CLUSTER / "token").is_file() and "KUBERNETES_SERVICE_HOST" in os.environ:
        return _of_pod()
    return None


def kubeconfigs() -> list[Path]:
    """The files that ``kubectl`` reads, whether they exist or not."""
    named = os.environ.get("KUBECONFIG")
    return [Path(file) for file in named.split(os.pathsep) if file] if named else [Path.home() / ".kube" / "config"]


def of_context(context: KubeContext) -> Access:
    """Access as a context describes it.

    Raises:
        BadInput: its certificates cannot be used, or its proxy needs a package that is not installed.
    """
    cluster, user = context.cluster, context.user
    server, clock = cluster.server.rstrip("/"), ServerClock()
    session = new_session(server)
    session.mount("https://", _Adapter(cluster.tls_server_name, user.impersonate_groups, user.impersonate_extra))
    session.mount("http://", _Adapter("", user.impersonate_groups, user.impersonate_extra))
    _set_proxy(session, cluster, context.where)
    _trust(session, cluster)
    if user.impersonate:
        session.headers["Impersonate-User"] = user.impersonate
    if user.impersonate_uid:
        session.headers["Impersonate-Uid"] = user.impersonate_uid
    certificate, key = user.material("client-certificate"), user.material("client-key")
    if certificate and key:
        session.cert = client_certificate(certificate, key, context.where)
    identity = _identity(session, user, cluster, clock, context.where)
    hint = f"Check {context.where}; does kubectl version work?"
    return Access(Http(server, "Kubernetes", hint, session, identity, clock), context.namespace)


def _identity(
    session: requests.Session, user: UserEntry, cluster: ClusterEntry, clock: ServerClock, where: str
) -> Authenticator | None:
    """Set fixed credentials; return those that are read again.

    As in client-go, a token comes before a plugin, and nothing is sent without TLS.
    """
    if not cluster.server.startswith("https://"):
        return None
    if user.token_file:
        return TokenFile(user.folder / user.token_file, user.token)
    if user.token:
        session.headers["Authorization"] = f"Bearer {user.token}"
    elif user.username:
        session.auth = (user.username, user.password)
    elif user.plugin:
        return PluginCredential(user.plugin, cluster, where, clock)
    return None


def _set_proxy(session: requests.Session, cluster: ClusterEntry, where: str) -> None:
    if not cluster.proxy_url:
        return
    if cluster.proxy_url.startswith("socks5"):
        try:
            import socks  # type: ignore[import-untyped,import-not-found,unused-ignore] # noqa: F401
        except ImportError as error:
            raise BadInput(
                f"{where}: proxy-url {cluster.proxy_url} needs the package PySocks: pip install PySocks"
            ) from error
    session.proxies = {"https": cluster.proxy_url, "http": cluster.proxy_url}


def _trust(session: requests.Session, cluster: ClusterEntry) -> None:
    if cluster.insecure_skip_tls_verify:
        session.verify = False
        requests.packages.urllib3.disable_warnings()  # type: ignore[attr-defined] # the kubeconfig asks for it
    elif authority := cluster.material("certificate-authority"):
        session.verify = private_file("ca.crt", authority)


class _Adapter(HTTPAdapter):
    """Sends ``tls-server-name``, and headers that requests cannot repeat: one for each group to act as."""

    def __init__(self, server_name: str, groups: tuple[str, ...], extra: dict[str, tuple[str, ...]]) -> None:
        self._tls: dict[str, Any] = {"server_hostname": server_name} if server_name else {}
        self._repeated = [("Impersonate-Group", group) for group in groups]
        self._repeated += [
            (f"Impersonate-Extra-{quote(name, safe='')}", value) for name, values in extra.items() for value in values
        ]
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **options, **self._tls)

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, **self._tls)

    def add_headers(self, request: requests.PreparedRequest, **_: Any) -> None:
        headers = HTTPHeaderDict(request.headers)
        for name, value in self._repeated:
            headers.add(name, value)
        request.headers = headers  # type: ignore[assignment]


def _of_pod() -> Access:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    server = f"https://{host}:{port}"
    session = new_session(server)
    session.verify = str(IN_CLUSTER / "ca.crt")
    identity = TokenFile(IN_CLUSTER / "token")
    http = Http(server, "Kubernetes", "The service account of this pod was used.", session, identity)
    return Access(http, (IN_CLUSTER / "namespace").read_text().strip())
