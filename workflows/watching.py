"""``status`` and ``logs`` from the store: what is there now, or as it comes until the run ends."""

import time
from itertools import cycle
from typing import TYPE_CHECKING

from workflows.board import Board, Row, quiet_terminal, table
from workflows.stored import LogFile, find_logs, read_log, recent_lines, status
from workflows.stores import local_store, open_store

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.runtime.store import Store

EVERY = 3.0  # seconds between two looks at the store
COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")


def show_status(run: str) -> list[Row]:
    """One row a task, as the store has them."""
    with local_store():
        return status(open_store(), run)


def watch_status(run: str, console: "Console", *, once: bool) -> None:
    """Print the board once, or keep it up to date until nothing runs or waits any more. Ctrl-C only stops looking."""
    if once:
        console.print(table(show_status(run)))
        return
    with local_store(), quiet_terminal(), Board(run, console) as board:
        store = open_store()
        try:
            while True:
                board.show(rows := status(store, run))
                if not any(row.state in ("waiting", "running") for row in rows):
                    return
                time.sleep(EVERY)
        except KeyboardInterrupt:
            return


def print_logs(
    run: str, console: "Console", stage: str | None, model: str | None, fold: int | None, *, follow: bool
) -> None:
    """Print logs, each line with its task in front where there are several; with ``follow`` until the run ends."""
    read: dict[str, int] = {}
    with local_store():
        store = open_store()
        try:
            while True:
                files = find_logs(store, run, stage, model, fold)
                _print_new(store, console, files, read)
                if not follow or not any(row.state in ("waiting", "running") for row in status(store, run)):
                    return
                time.sleep(EVERY)
        except KeyboardInterrupt:
            return


def _print_new(store: "Store", console: "Console", files: list[LogFile], read: dict[str, int]) -> None:
    from rich.text import Text

    tasks = list(dict.fromkeys(file.task for file in files))
    colours = dict(zip(tasks, cycle(COLOURS), strict=False))
    for file in files:
        records, read[file.key] = read_log(store, file.key, read.get(file.key, 0))
        for text in recent_lines(records):
            for line in text.splitlines():
                prefix = Text(f"{file.task}  " if len(tasks) > 1 else "", colours[file.task])
                console.print(prefix + Text(line), soft_wrap=True, highlight=False)
