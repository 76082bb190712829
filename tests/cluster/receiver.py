"""A webhook on this machine."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Receiver:
    """Its address in Apprise's words, and all that it got."""

    address: str
    got: list[dict[str, Any]]


@contextmanager
def webhook(host: str) -> Iterator[Receiver]:
    """A receiver that accepts everything, at an address of this machine."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Receiver(f"json://{host}:{server.server_port}/runs", got)
    finally:
        server.shutdown()
        server.server_close()
