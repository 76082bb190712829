"""Log lines, parsed from the log of a pod or of the store, and filtered."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from jobs.contract.exits import BadInput

# The text format of jobs.runtime.telemetry.logs.
_FORMAT: Final = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z (\w+)\s+.*? \| (.*)$")
# Argo's executor appends lines to the log of every container.
_ARGO: Final = re.compile(r"\bargo=true\b|^Error: exit status \d+$")


@dataclass(frozen=True)
class LogLine:
    """One line of a task's log. Attempts count from 1. Lines of a traceback have the time of their record."""

    task: str
    attempt: int
    at: str  # ISO 8601, UTC
    level: str
    text: str

    def as_json(self) -> str:
        """The line for ``--json``."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True)
class LineFilter:
    """Selects log lines by time and text."""

    since: datetime | None = None
    grep: re.Pattern[str] | None = None

    def __call__(self, line: LogLine) -> bool:
        """Whether to show the line."""
        if self.since and line.at and line.at < self.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"):
            return False
        return self.grep is None or bool(self.grep.search(line.text))


def from_pod(task: str, attempt: int, lines: Iterable[str]) -> Iterator[LogLine]:
    """Parse a pod's log. Lines in another format get the time and level of the line before; Argo's are dropped."""
    at, level = "", "info"
    for line in lines:
        if _ARGO.search(line):
            continue
        if match := _FORMAT.match(line):
            at, level, text = match.group(1), match.group(2).lower(), match.group(3)
            yield LogLine(task, attempt, at, level, text)
        else:
            yield LogLine(task, attempt, at, level, line.rstrip())


def from_store(task: str, attempt: int, records: Iterable[dict[str, str]]) -> Iterator[LogLine]:
    """Turn the records of a stored log into lines; a traceback becomes several."""
    for record in records:
        for text in record["text"].splitlines() or [""]:
            yield LogLine(task, attempt, record["at"][:19], record["level"], text)


def line_filter(since: str | None, grep: str | None, now: datetime) -> LineFilter:
    """Parse the options ``--since`` and ``--grep``; ``now`` is the time of those who wrote the lines.

    Raises:
        BadInput: an option is not valid.
    """
    try:
        pattern = re.compile(grep) if grep else None
    except re.error as error:
        raise BadInput(f"--grep {grep}: not a regular expression ({error})") from error
    if since is None:
        return LineFilter(None, pattern)
    match = re.fullmatch(r"(\d+)([smhd])", since)
    if not match:
        raise BadInput(f"--since {since}: write 90s, 10m, 2h or 1d")
    seconds = int(match.group(1)) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match.group(2)]
    return LineFilter(now - timedelta(seconds=seconds), pattern)
