"""A real Prometheus on loopback, and what it is asked."""

import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any

import yaml

from tests.charts.conftest import CHART

DASHBOARD = json.loads((CHART / "dashboards" / "cxrfold.json").read_text())


def queries() -> list[tuple[str, str]]:
    """(panel, query) of every target, with Grafana's variables filled in as "all"."""
    found = []
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            expr = target["expr"].replace("$__rate_interval", "1m")
            found.append((panel["title"], re.sub(r"\$(experiment|namespace|run|model)\b", ".*", expr)))
    return found


def free_port() -> int:
    with socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return bytes(answer.read())


def wait_for(what: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.2)


@contextmanager
def server(*command: str, ready: str) -> Iterator[None]:
    """A server on loopback for as long as the block lasts."""

    def answers() -> bool:
        assert process.poll() is None, f"{command[0]} ended at once"
        try:
            return bool(get(ready))
        except (urllib.error.URLError, ConnectionError):
            return False

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(answers)
        yield
    finally:
        process.terminate()
        process.wait(10)


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that runs."""

    url: str

    def __call__(self, expr: str, minutes: int = 0) -> list[Any]:
        """The series that an expression has now, or had within the last minutes."""
        now = time.time()
        path = f"query_range?start={now - 60 * minutes}&end={now}&step=5&" if minutes else "query?"
        answer = json.loads(get(f"{self.url}/api/v1/{path}query={urllib.parse.quote(expr)}"))
        return list(answer["data"]["result"])

    def rules(self) -> list[Any]:
        """Its alerts, with their health."""
        groups = json.loads(get(f"{self.url}/api/v1/rules"))["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


@contextmanager
def prometheus(config: dict[str, Any], folder: Path) -> Iterator[Prometheus]:
    """A Prometheus with this configuration for as long as the block lasts."""
    file, url = folder / "prometheus.yaml", f"http://127.0.0.1:{free_port()}"
    file.write_text(yaml.safe_dump(config))
    command = ("prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}")
    with server(*command, f"--web.listen-address={url.removeprefix('http://')}", ready=f"{url}/-/ready"):
        yield Prometheus(url)
