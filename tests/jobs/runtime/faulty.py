"""A proxy before the S3 server that fails, stalls and cuts connections as it is told."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Proxy:
    """Forwards connections; ``decide(n)`` says what becomes of the n-th: pass, refuse, answer, silent, cut BYTES."""

    target: str
    decide: Callable[[int], str] = lambda number: "pass"
    answer: bytes = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    connections: int = 0
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    clients: list[socket.socket] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._one, args=(client, self.decide(self.connections)), daemon=True)
            self.clients.append(client)
            self.threads.append(thread)
            thread.start()

    def close(self) -> None:
        """End every connection and wait until its sockets are closed; those that wait are woken."""
        for each in (self.listener, *self.clients):
            with suppress(OSError):  # ended already
                each.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(timeout=10)

    def _one(self, client: socket.socket, fate: str) -> None:
        with client:
            if fate == "refuse":
                return
            if fate in ("answer", "silent"):
                client.settimeout(0.2 if fate == "answer" else 10)
                with suppress(OSError):
                    while client.recv(65536) and fate == "silent":
                        pass
                if fate == "answer":
                    client.sendall(self.answer)
                return
            limit = int(fate.removeprefix("cut ")) if fate.startswith("cut ") else None
            where = urlsplit(self.target)
            with socket.create_connection((where.hostname, where.port)) as server:
                up = threading.Thread(target=_pump, args=(client, server, None), daemon=True)
                up.start()
                _pump(server, client, limit)


def _pump(source: socket.socket, sink: socket.socket, limit: int | None) -> None:
    sent = 0
    try:
        while data := source.recv(65536):
            if limit is not None and sent + len(data) > limit:
                sink.sendall(data[: limit - sent])
                break
            sink.sendall(data)
            sent += len(data)
    except OSError:
        pass  # the other side is gone, which is what this proxy is for
    for side in (source, sink):
        with suppress(OSError):  # closed already
            side.shutdown(socket.SHUT_RDWR)


@contextmanager
def faulty_proxy(target: str) -> Iterator[Proxy]:
    proxy = Proxy(target)
    threading.Thread(target=proxy.serve, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.close()
