"""Lines of logs, of pods and of the store alike: parsed, picked, and merged by time."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from jobs.contract.exits import BadInput

# As jobs.runtime.telemetry.logs writes for people.
_PEOPLE: Final = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z (\w+)\s+.*? \| (.*)$")
# Argo's executor ends every container's log with lines of its own.
_ARGO: Final = re.compile(r"\bargo=true\b|^Error: exit status \d+$")


@dataclass(frozen=True)
class Line:
    """A line of a task's log. A traceback's lines have the time of the line they follow."""

    task: str
    attempt: int
    at: str  # ISO 8601, UTC
    level: str
    text: str

    def as_json(self) -> str:
        """The line for ``--json``."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True)
class Wanted:
    """Which lines are wanted."""

    since: datetime | None = None
    grep: re.Pattern[str] | None = None

    def __call__(self, line: Line) -> bool:
        """Whether the line is."""
        if self.since and line.at and line.at < self.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"):
            return False
        return self.grep is None or bool(self.grep.search(line.text))


def from_pod(task: str, attempt: int, lines: Iterable[str]) -> Iterator[Line]:
    """A pod's log: what people read, here taken apart again; other programs' lines are text at the latest time."""
    at, level = "", "info"
    for line in lines:
        if _ARGO.search(line):
            continue
        if match := _PEOPLE.match(line):
            at, level, text = match.group(1), match.group(2).lower(), match.group(3)
            yield Line(task, attempt, at, level, text)
        else:
            yield Line(task, attempt, at, level, line.rstrip())


def from_store(task: str, attempt: int, records: Iterable[dict[str, str]]) -> Iterator[Line]:
    """A stored log's records; a traceback becomes several lines."""
    for record in records:
        for text in record["text"].splitlines() or [""]:
            yield Line(task, attempt, record["at"][:19], record["level"], text)


def wanted(since: str | None, grep: str | None) -> Wanted:
    """The lines that two options of the command line ask for.

    Raises:
        BadInput: where one of them is not understood.
    """
    try:
        pattern = re.compile(grep) if grep else None
    except re.error as error:
        raise BadInput(f"--grep {grep}: no regular expression ({error})") from error
    if since is None:
        return Wanted(None, pattern)
    match = re.fullmatch(r"(\d+)([smhd])", since)
    if not match:
        raise BadInput(f"--since {since}: write 90s, 10m, 2h or 1d")
    seconds = int(match.group(1)) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match.group(2)]
    return Wanted(datetime.now(UTC) - timedelta(seconds=seconds), pattern)
