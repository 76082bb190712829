"""HTTP with a time-out, retries and readable errors: every request of the control side goes through this module."""

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import requests

from jobs.contract.clock import ServerClock
from jobs.contract.exits import BadInput, ServiceAway

Json = dict[str, Any]

CONNECT_SECONDS: Final = 4.0
READ_SECONDS: Final = 20.0
# A followed log may be silent for long; the server's keep-alive ends a dead connection sooner.
STREAM_SECONDS: Final = 600.0
PAUSES: Final = (0.2, 0.6, 1.5)  # seconds between attempts
RETRIED: Final = frozenset({429, 500, 502, 503, 504})
# OpenSSL's reasons for an answer that is not TLS at all.
NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})


class NotThere(BadInput):
    """The object does not exist."""


class Exists(BadInput):
    """An object of that name exists already."""


class Unauthorized(BadInput):
    """The server does not accept the credentials."""


class Forbidden(BadInput):
    """The server knows the user, who lacks the right."""


class NoAnswer(ServiceAway):
    """The server does not answer, or closed the connection."""


class Authenticator(Protocol):
    """Who sends the requests."""

    def apply(self, session: requests.Session, *, renew: bool = False) -> bool:
        """Give the session the current credentials; return whether they changed. ``renew``: they were refused."""


@dataclass(frozen=True)
class Http:
    """A server that speaks JSON.

    Every call must be safe to repeat: reads are, and objects are created under a unique name.
    """

    base: str  # address, without a slash at its end
    what: str  # the server's name in messages, e.g. Kubernetes
    hint: str  # what to check if it does not answer
    session: requests.Session = field(repr=False)
    identity: Authenticator | None = field(default=None, repr=False)
    clock: ServerClock = field(default_factory=ServerClock, repr=False, compare=False)

    def get(self, path: str, **params: Any) -> Json:
        """Read an object."""
        return self.call("GET", path, params=params)

    def call(
        self, method: str, path: str, *, params: Mapping[str, Any] | None = None, body: Any = None,
        content: str = "application/json",
    ) -> Json:  # fmt: skip
        """Send a request; retry while the server is unavailable.

        Raises:
            NotThere: on 404.
            Exists: on 409.
            Unauthorized: on 401, also with renewed credentials.
            Forbidden: on 403.
            BadInput: on any other error of the request, or an answer that is not JSON.
            NoAnswer: the server does not answer.
        """
        data = None if body is None else json.dumps(body).encode()
        response = self._send(method, path, params, data, {"Content-Type": content} if data else {}, stream=False)
        if not response.content:
            return {}
        try:
            answer: Json = response.json()
        except requests.exceptions.JSONDecodeError as error:
            kind = response.headers.get("Content-Type", "no content type")
            raise BadInput(
                f"{self.what} at {self.base} answered {path} with something other than JSON ({kind}). {self.hint}"
            ) from error
        return answer

    def lines(self, path: str, **params: Any) -> Iterator[str]:
        """Yield the lines of a response as they arrive, e.g. of a log."""
        with self._send("GET", path, params, None, {}, stream=True) as response:
            response.encoding = "utf-8"
            try:
                yield from (line for line in response.iter_lines(decode_unicode=True) if line is not None)
            except requests.RequestException as error:
                raise NoAnswer(f"{self.what} at {self.base} closed the connection during {path}: {error}") from error

    def _send(
        self, method: str, path: str, params: Mapping[str, Any] | None, data: bytes | None, headers: Mapping[str, str],
        *, stream: bool,
    ) -> requests.Response:  # fmt: skip
        given = {name: _text(value) for name, value in (params or {}).items() if value is not None}
        timeout = (CONNECT_SECONDS, STREAM_SECONDS if stream else READ_SECONDS)
        pauses, renewed, problem = list(PAUSES), False, ""
        while True:
            if self.identity:
                self.identity.apply(self.session)
            began = time.time()
            try:
                response = self.session.request(
                    method, self.base + path, params=given, data=data, headers=headers, timeout=timeout, stream=stream
                )
            except requests.RequestException as error:
                self._check_trust(error)
                problem = _cause(error)
            else:
                self.clock.read(response.headers.get("Date"), began, time.time())
                if response.ok:
                    return response
                if response.status_code == 401 and self.identity and not renewed:
                    renewed = True
                    if self.identity.apply(self.session, renew=True):
                        continue
                if response.status_code not in RETRIED:
                    raise self._refusal(response)
                problem = f"{response.status_code} {_message(response)}"
            if not pauses:
                raise NoAnswer(f"{self.what} at {self.base} does not answer: {problem}. {self.hint}")
            time.sleep(pauses.pop(0))

    def _check_trust(self, error: requests.RequestException) -> None:
        """Raise what no retry can mend: a certificate that is not trusted, or a server without TLS.

        A handshake that breaks off is a broken connection like any other.
        """
        causes = list(_causes(error))
        certificate = any(
            isinstance(cause, ssl.SSLCertVerificationError) or type(cause).__name__ == "CertificateError"
            for cause in causes
        )
        if certificate:
            raise BadInput(
                f"{self.what} at {self.base}: its certificate is not trusted ({causes[-1]}). {self.hint}"
            ) from error
        if any(isinstance(cause, ssl.SSLError) and getattr(cause, "reason", None) in NOT_TLS for cause in causes):
            raise BadInput(f"{self.what} at {self.base} does not speak TLS: is it http? {self.hint}") from error

    def _refusal(self, response: requests.Response) -> BadInput:
        message = _message(response)
        if response.status_code == 404:
            return NotThere(f"{self.what}: {message}")
        if response.status_code == 409:
            return Exists(f"{self.what}: {message}")
        if response.status_code == 401:
            return Unauthorized(
                f"{self.what} at {self.base} does not accept the credentials: {message}. Log in again, or check the "
                f"token: it may have expired. {self.hint}"
            )
        if response.status_code == 403:
            return Forbidden(f"{self.what} denies access: {message}.")
        return BadInput(f"{self.what} refuses the request ({response.status_code}): {message}")


def new_session(base: str) -> requests.Session:
    """Create a session for a server, with the environment's proxies, but without its .netrc and CA bundle."""
    session = requests.Session()
    session.trust_env = False
    session.proxies = dict(requests.utils.get_environ_proxies(base))
    return session


def _text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _message(response: requests.Response) -> str:
    """The error text, which Kubernetes and Argo both put under ``message``."""
    try:
        body = response.json()
    except requests.exceptions.JSONDecodeError:
        return " ".join(response.text.split())[:300] or response.reason
    return str(body.get("message") or body) if isinstance(body, dict) else str(body)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and those inside it, which requests wraps several times, innermost last."""
    inner: BaseException | None = error
    while inner is not None:
        yield inner
        reason = getattr(inner, "reason", None)
        inner = inner.__cause__ or inner.__context__ or (reason if isinstance(reason, BaseException) else None)


def _cause(error: requests.RequestException) -> str:
    """The innermost error."""
    inner = list(_causes(error))[-1]
    return str(inner) or type(inner).__name__
