"""Access to Kubernetes: that of kubectl's current context, or of the service account of the current pod."""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPHeaderDict
from urllib3.util.ssl_ import create_urllib3_context

from jobs.contract.clock import ServerClock
from jobs.contract.exits import BadInput
from workflows.cluster.credentials import PluginCredential, TokenFile, load_client_certificate
from workflows.cluster.http import Authenticator, Http, new_session
from workflows.cluster.kubeconfig import ClusterEntry, KubeContext, read_context

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
    session, tls = new_session(server), _tls(cluster)
    session.verify = not cluster.insecure_skip_tls_verify
    secure = {"ssl_context": tls, "server_hostname": cluster.tls_server_name or None}
    session.mount("https://", _Adapter(secure, user.impersonate_groups, user.impersonate_extra))
    session.mount("http://", _Adapter({}, user.impersonate_groups, user.impersonate_extra))
    _set_proxy(session, cluster, context.where)
    if user.impersonate:
        session.headers["Impersonate-User"] = user.impersonate
    if user.impersonate_uid:
        session.headers["Impersonate-Uid"] = user.impersonate_uid
    certificate, key = user.material("client-certificate"), user.material("client-key")
    if certificate and key:
        load_client_certificate(tls, certificate, key, context.where)
    identity = _identity(session, tls, context, clock)
    hint = f"Check {context.where}; does kubectl version work?"
    return Access(Http(server, "Kubernetes", hint, session, identity, clock), context.namespace)


def _identity(
    session: requests.Session, tls: ssl.SSLContext, context: KubeContext, clock: ServerClock
) -> Authenticator | None:
    """Set fixed credentials; return those that are read again.

    As in client-go, a token comes before a plugin, and nothing is sent without TLS.
    """
    user, cluster = context.user, context.cluster
    if not cluster.server.startswith("https://"):
        return None
    if user.token_file:
        return TokenFile(user.folder / user.token_file, user.token)
    if user.token:
        session.headers["Authorization"] = f"Bearer {user.token}"
    elif user.username:
        session.auth = (user.username, user.password)
    elif user.plugin:
        return PluginCredential(user.plugin, cluster, context.where, clock, tls)
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


def _tls(cluster: ClusterEntry) -> ssl.SSLContext:
    """Whom the client trusts: the cluster's authority alone where there is one, else the public ones."""
    tls = create_urllib3_context()
    if cluster.insecure_skip_tls_verify:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        requests.packages.urllib3.disable_warnings()  # type: ignore[attr-defined] # the kubeconfig asks for it
        return tls
    tls.verify_mode = ssl.CERT_REQUIRED
    if authority := cluster.material("certificate-authority"):
        tls.load_verify_locations(cadata=authority.decode("ascii"))
    else:
        tls.load_verify_locations(requests.utils.DEFAULT_CA_BUNDLE_PATH)
    return tls


class _Adapter(HTTPAdapter):
    """Connects by a TLS context, and sends headers that requests cannot repeat: one for each group to act as."""

    def __init__(self, secure: dict[str, Any], groups: tuple[str, ...], extra: dict[str, tuple[str, ...]]) -> None:
        self._secure = secure
        self._repeated = [("Impersonate-Group", group) for group in groups]
        self._repeated += [
            (f"Impersonate-Extra-{quote(name, safe='')}", value) for name, values in extra.items() for value in values
        ]
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **options, **self._secure)

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, **self._secure)

    def cert_verify(self, *_: Any) -> None:
        """The context knows whom to trust: requests would add the public authorities."""

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
