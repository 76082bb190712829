"""A proxy before the S3 server that answers wrongly, cuts, resets, loses, stalls and remembers too well.

Faults are put in a request at a time, whatever the connection: ``rate`` of the requests meet one of ``faults``.
"""

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

CUT_AT: Final = 0.5  # of the body
STALL: Final = 4.0  # seconds; "deaf" is longer than any client waits
SILENCE: Final = 90.0
HOP_BY_HOP: Final = {"connection", "keep-alive", "transfer-encoding", "expect", "content-length"}


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    length: int | None = None  # Content-Length, where it differs from the body's (HEAD)


@dataclass
class Faults:
    """Which faults a proxy puts in, and how many it has.

    Attributes:
        names: of ``FAULTS``; empty for none.
        rate: share of the requests that meet one.
        chance: decides.
        counts: how often each was put in.
    """

    names: tuple[str, ...] = ()
    rate: float = 0.0
    chance: random.Random = field(default_factory=random.Random)
    counts: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def draw(self) -> str:
        """The fault that the next request meets; empty for none."""
        with self._lock:
            return self.chance.choice(self.names) if self.names and self.chance.random() < self.rate else ""

    def count(self, name: str) -> None:
        with self._lock:
            self.counts[name] += 1

    @property
    def total(self) -> int:
        return sum(self.counts.values())


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    server: "Proxy"

    def handle_one_request(self) -> None:
        with suppress(ConnectionError, TimeoutError, http.client.HTTPException):
            super().handle_one_request()
            return
        self.close_connection = True

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = self.server.faults.draw()
        if not name:
            self.send(self.forward(body))
        elif FAULTS[name](self, body):
            self.server.faults.count(name)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _any

    def forward(self, body: bytes) -> Answer:
        """Ask the server."""
        to = http.client.HTTPConnection(*self.server.target, timeout=60)
        try:
            to.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for key, value in self.headers.items():
                if key.lower() not in HOP_BY_HOP:
                    to.putheader(key, value)
            if self.command in ("PUT", "POST"):
                to.putheader("Content-Length", str(len(body)))
            to.endheaders(body)
            got = to.getresponse()
            headers = [(key, value) for key, value in got.getheaders() if key.lower() not in HOP_BY_HOP]
            answer = Answer(got.status, headers, got.read())
            if self.command == "HEAD":
                answer.length = int(got.headers.get("Content-Length") or 0)
        finally:
            to.close()
        self.server.remember(self.command, self.path, answer)
        return answer

    def send(self, answer: Answer, upto: float = 1.0, pause: float = 0.0) -> None:
        """Answer the client; with ``upto`` below 1 cut the body there, with ``pause`` dribble it."""
        self.send_response(answer.status)
        for key, value in answer.headers:
            self.send_header(key, value)
        if answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
        self.end_headers()
        body = answer.body[: int(len(answer.body) * upto)]
        step = max(1, len(body) // 8) if pause else max(1, len(body))
        for start in range(0, len(body), step):
            time.sleep(pause)
            self.wfile.write(body[start : start + step])
        self.wfile.flush()
        if upto < 1:
            self.hang_up()

    def hang_up(self, *, reset: bool = False) -> None:
        """End the connection, in order or not."""
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Proxy(ThreadingHTTPServer):
    """The listener."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, endpoint: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        where = urlsplit(endpoint)
        self.target = (where.hostname or "", where.port or 80)
        self.faults = Faults()
        self._answers: dict[str, list[Answer]] = {}

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def remember(self, method: str, path: str, answer: Answer) -> None:
        """Keep the last two answers to reading a path."""
        if method == "GET":
            self._answers[path] = [*self._answers.get(path, [])[-1:], answer]

    def earlier(self, path: str) -> Answer | None:
        """What reading a path gave the time before."""
        answers = self._answers.get(path)
        return answers[0] if answers else None

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what this is for."""


@contextmanager
def proxy(endpoint: str) -> Iterator[Proxy]:
    """A proxy that serves while the context lasts."""
    with Proxy(endpoint) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


Fault = Callable[[Handler, bytes], bool]  # answers a request; whether wrongly


def _answers(status: int, code: str, *, upto: float = 1.0, headers: tuple[tuple[str, str], ...] = ()) -> Fault:
    """An error of S3 in place of the server's answer; the server is not asked."""

    def fault(handler: Handler, body: bytes) -> bool:
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{'put in ' * 20}</Message></Error>".encode()
        content = Answer(status, [("Content-Type", "application/xml"), *headers], b"" if not code else text)
        if handler.command == "HEAD":
            content = Answer(status, list(headers), b"", 0)
        handler.send(content, upto)
        return True

    return fault


def _cut(handler: Handler, body: bytes) -> bool:
    """The answer, whatever it is, ends within its body."""
    answer = handler.forward(body)
    cut = len(answer.body) > 1 and answer.status != 204
    handler.send(answer, CUT_AT if cut else 1.0)
    return cut


def _cut_head(handler: Handler, body: bytes) -> bool:
    handler.forward(body)
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    handler.hang_up()
    return True


def _reset(handler: Handler, body: bytes) -> bool:
    handler.hang_up(reset=True)
    return True


def _close(handler: Handler, body: bytes) -> bool:
    handler.hang_up()
    return True


def _lose(handler: Handler, body: bytes) -> bool:
    """What was asked for is done, and nobody is told."""
    handler.forward(body)
    handler.hang_up(reset=True)
    return True


def _stall(handler: Handler, body: bytes) -> bool:
    time.sleep(STALL)
    handler.send(handler.forward(body))
    return True


def _be_deaf(handler: Handler, body: bytes) -> bool:
    """No answer; the client must give up."""
    handler.connection.settimeout(SILENCE)
    with suppress(OSError):
        handler.connection.recv(1)
    handler.hang_up()
    return True


def _dribble(handler: Handler, body: bytes) -> bool:
    handler.send(handler.forward(body), pause=0.3)
    return True


def _be_stale(handler: Handler, body: bytes) -> bool:
    """Return an earlier version of a pointer, a heartbeat or a DONE record, or that it does not exist yet."""
    if handler.command != "GET" or not handler.path.split("?")[0].endswith(("DONE.json", "latest.json")):
        handler.send(handler.forward(body))
        return False
    if (earlier := handler.server.earlier(handler.path)) is not None:
        handler.send(earlier)
        return True
    return _answers(404, "NoSuchKey")(handler, body)


FAULTS: Final[dict[str, Fault]] = {
    "500": _answers(500, "InternalError"),
    "500 cut": _answers(500, "InternalError", upto=CUT_AT),
    "502": _answers(502, ""),
    "503": _answers(503, "SlowDown"),
    "503 cut": _answers(503, "SlowDown", upto=CUT_AT),
    "504": _answers(504, ""),
    "408": _answers(408, "RequestTimeout"),
    "400 RequestTimeout": _answers(400, "RequestTimeout"),
    "409": _answers(409, "OperationAborted"),
    "429": _answers(429, "TooManyRequests"),
    "403 skewed": _answers(403, "RequestTimeTooSkewed"),
    "307 nowhere": _answers(307, "TemporaryRedirect"),
    "cut": _cut,
    "cut in the head": _cut_head,
    "reset": _reset,
    "closed": _close,
    "lost answer": _lose,
    "stall": _stall,
    "dribble": _dribble,
    "stale": _be_stale,
    "deaf": _be_deaf,
}
