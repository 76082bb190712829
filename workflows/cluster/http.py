"""HTTP with a time-out, retries and readable errors: every request of the control side goes through this module."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import requests

from jobs.contract.exits import BadInput, ServiceAway

Json = dict[str, Any]

CONNECT_SECONDS: Final = 4.0
READ_SECONDS: Final = 20.0
# A followed log may be silent for long; the server's keep-alive ends a dead connection sooner.
STREAM_SECONDS: Final = 600.0
PAUSES: Final = (0.2, 0.6, 1.5)  # seconds between attempts
RETRIED: Final = frozenset({429, 500, 502, 503, 504})


class NotThere(BadInput):
    """The object does not exist."""


class Exists(BadInput):
    """An object of that name exists already."""


class Forbidden(BadInput):
    """The server denies access."""


@dataclass(frozen=True)
class Http:
    """A server that speaks JSON.

    Every call must be safe to repeat: reads are, and objects are created under a unique name.
    """

    base: str  # address, without a slash at its end
    what: str  # the server's name in messages, e.g. Kubernetes
    hint: str  # what to check if it does not answer
    session: requests.Session = field(repr=False)

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
            Forbidden: on 401 and 403.
            BadInput: on any other error of the request.
            ServiceAway: the server does not answer.
        """
        data = None if body is None else json.dumps(body).encode()
        response = self._send(method, path, params, data, {"Content-Type": content} if data else {}, stream=False)
        return response.json() if response.content else {}

    def lines(self, path: str, **params: Any) -> Iterator[str]:
        """Yield the lines of a response as they arrive, e.g. of a log."""
        with self._send("GET", path, params, None, {}, stream=True) as response:
            response.encoding = "utf-8"
            try:
                yield from (line for line in response.iter_lines(decode_unicode=True) if line is not None)
            except requests.RequestException as error:
                raise ServiceAway(f"{self.what} at {self.base} closed the connection during {path}: {error}") from error

    def _send(
        self, method: str, path: str, params: Mapping[str, Any] | None, data: bytes | None, headers: Mapping[str, str],
        *, stream: bool,
    ) -> requests.Response:  # fmt: skip
        given = {name: _text(value) for name, value in (params or {}).items() if value is not None}
        timeout = (CONNECT_SECONDS, STREAM_SECONDS if stream else READ_SECONDS)
        problem = ""
        for pause in (*PAUSES, None):
            try:
                response = self.session.request(
                    method, self.base + path, params=given, data=data, headers=headers, timeout=timeout, stream=stream
                )
            except requests.exceptions.SSLError as error:
                raise BadInput(
                    f"{self.what} at {self.base}: its certificate is not trusted ({error}). {self.hint}"
                ) from error
            except requests.RequestException as error:
                problem = _cause(error)
            else:
                if response.ok:
                    return response
                if response.status_code not in RETRIED:
                    raise self._refusal(response)
                problem = f"{response.status_code} {_message(response)}"
            if pause is not None:
                time.sleep(pause)
        raise ServiceAway(f"{self.what} at {self.base} does not answer: {problem}. {self.hint}")

    def _refusal(self, response: requests.Response) -> BadInput:
        message = _message(response)
        if response.status_code == 404:
            return NotThere(f"{self.what}: {message}")
        if response.status_code == 409:
            return Exists(f"{self.what}: {message}")
        if response.status_code in (401, 403):
            return Forbidden(f"{self.what} at {self.base} denies access: {message}. Check the token and its rights.")
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


def _cause(error: requests.RequestException) -> str:
    """The innermost error, which requests wraps several times."""
    inner: BaseException = error
    while (deeper := inner.__cause__ or inner.__context__) is not None:
        inner = deeper
    return str(inner) or type(inner).__name__
