"""Logging of a stage: text lines on the terminal, JSON lines in a file that is sent to the store."""

import json
import logging
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

FORMAT: Final = "%(asctime)sZ %(levelname)-7s %(task)s | %(message)s"


class _JsonFormatter(logging.Formatter):
    """One JSON line per record; ``cv.py logs`` reads them."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return json.dumps({"at": at, "level": record.levelname.lower(), "logger": record.name, "text": text})


class _TextFormatter(logging.Formatter):
    """Time in UTC, level, task, text."""

    def __init__(self, task: str) -> None:
        super().__init__(FORMAT, datefmt="%Y-%m-%dT%H:%M:%S", defaults={"task": task})

    converter = staticmethod(lambda seconds: datetime.fromtimestamp(seconds or 0, UTC).timetuple())


class _LinesFile(logging.FileHandler):
    """A file of lines. On a full disk it misses some, which the terminal has all the same."""

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def listen(task: str, file: Path, stream: IO[str] | None = None) -> None:
    """Send every log record to a stream and to a file.

    Args:
        task: prefix of each text line, e.g. ``train-classifier b3 fold 2``.
        file: JSON lines; the heartbeat uploads it.
        stream: text lines; standard output where not given.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    text = logging.StreamHandler(stream or sys.stdout)
    text.setFormatter(_TextFormatter(task))
    lines = _LinesFile(file, mode="w", encoding="utf-8")
    lines.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[text, lines], force=True)
    logging.captureWarnings(True)
    for chatty in ("botocore", "boto3", "s3transfer", "urllib3", "matplotlib", "numba", "PIL", "py.warnings"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
