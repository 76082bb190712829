"""The board: one line a task with phase, attempt, epoch, best score and time left, for people.

On a terminal it is redrawn in place; elsewhere what changed is printed as plain lines. It only knows :class:`Row`, so
the same board serves a run on this machine, one on a cluster, and one that is only in the store any more.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from workflows.board.rows import FINISHING, Row, clock, how_far

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod, RenderableType
    from rich.live import Live
    from rich.table import Table

REDRAW_SECONDS = 0.25
LINE_SECONDS = 30.0  # so often a running task says in plain lines how far it is
GAP = 2  # characters between two columns
NOTE_WIDTH = 12  # a narrower note says nothing
LESS_TELLING = ("try", "best", "left", "time")  # the columns that go first where a line is short
# How each state looks: sign and style.
LOOKS = {
    "waiting": ("·", "dim"),
    "running": ("▸", "cyan"),
    "succeeded": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "omitted": ("–", "dim"),
    "stopped": ("■", "yellow"),
}


def table(rows: Sequence[Row], width: int = 120, height: int | None = None, fold: bool = True) -> "Table":
    """The board. Columns that say nothing, or have no room, are left out.

    Args:
        rows: the tasks.
        width: characters a line.
        height: lines there are. Where they are too few, what waits and what is done is summed up.
        fold: long notes go on below; they are cut where not.
    """
    from rich.table import Table
    from rich.text import Text

    shown, left_out = _that_fit(rows, height)
    cells = {
        "task": [row.task for row in shown],
        "phase": [row.phase or row.state for row in shown],
        "try": [str(row.attempt + 1) if row.attempt else "" for row in shown],
        "epoch": [how_far(row) for row in shown],
        "best": ["" if row.best is None else f"{row.best:.4f}" for row in shown],
        "time": [clock(row.seconds) for row in shown],
        "left": [clock(row.eta) if row.state == "running" else "" for row in shown],
    }
    widths = {name: max(map(len, (name, *texts))) + GAP for name, texts in cells.items() if any(texts)}
    for name in LESS_TELLING:
        if sum(widths.values()) + 1 + GAP > width:
            widths.pop(name, None)
    drawn = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    drawn.add_column("", no_wrap=True, width=1)
    for name in widths:
        justify: JustifyMethod = "left" if name in ("task", "phase") else "right"
        drawn.add_column(name, justify=justify, no_wrap=True)
    room = width - sum(widths.values()) - 1 - GAP
    if room >= NOTE_WIDTH and any(row.note for row in shown):
        drawn.add_column("", overflow="fold" if fold else "ellipsis", no_wrap=not fold, max_width=room)
    for index, row in enumerate(shown):
        sign, style = LOOKS[row.state]
        texts = [Text(cells[name][index], style if name == "phase" else "") for name in widths]
        quiet = "dim" if row.state in ("waiting", "omitted") else ""
        note = [Text(row.note)] if len(drawn.columns) > len(widths) + 1 else []
        drawn.add_row(Text(sign, style), *texts, *note, style=quiet)
    if left_out:
        drawn.add_row("", f"and {left_out}", style="dim")
    return drawn


def _that_fit(rows: Sequence[Row], height: int | None) -> tuple[list[Row], str]:
    if height is None or len(rows) <= height:
        return list(rows), ""
    telling = [row for row in rows if row.state not in ("waiting", "succeeded")][: max(1, height - 1)]
    counts = {state: sum(row.state == state for row in rows if row not in telling) for state in LOOKS}
    return telling, ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def title(name: str, rows: Sequence[Row], seconds: float) -> str:
    """The line above: run, how many tasks are done, time since the start."""
    done = sum(row.state == "succeeded" for row in rows)
    failed = sum(row.state == "failed" for row in rows)
    return f"{name}   {done} of {len(rows)} tasks done{f', {failed} failed' if failed else ''}   {clock(seconds)}"


def changes(before: dict[str, Row], rows: Sequence[Row]) -> Iterator[str]:
    """A line for each task whose state, phase or attempt is another than before."""
    for row in rows:
        old = before.get(row.task)
        if old is None and row.state == "waiting":
            continue
        if row.phase != FINISHING and (old is None or _stage(old) != _stage(row)):
            yield line(row)


def _stage(row: Row) -> tuple[str, str, int]:
    return row.state, row.phase, row.attempt


def line(row: Row) -> str:
    """A task in one plain line."""
    parts = [row.phase or row.state]
    parts += [f"attempt {row.attempt + 1}"] if row.attempt else []
    parts += [f"epoch {how_far(row)}"] if how_far(row) else []
    parts += [f"best {row.best:.4f}"] if row.best is not None else []
    parts += [f"{clock(row.eta)} left"] if row.eta and row.state == "running" else []
    parts += [f"after {clock(row.seconds)}"] if row.state in ("succeeded", "failed", "stopped") else []
    parts += [row.note] if row.note else []
    return f"{row.task}: {', '.join(parts)}"


class Board:
    """Shows rows as they change, in the way that suits where it is shown."""

    def __init__(self, name: str, console: "Console", seconds: float = 0.0) -> None:
        """A board of what began so many seconds ago."""
        self._name, self._console = name, console
        self._drawn = time.monotonic()
        self._began = self._drawn - seconds
        self._before: dict[str, Row] = {}
        self._said: dict[str, tuple[float, str]] = {}  # task → when something was last said of it, and how far it was
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            from rich.live import Live

            # No thread of its own: the engine forks, and it redraws often enough.
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._live.update(self._view(list(self._before.values()), cut=False), refresh=True)
            self._live.stop()

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the rows were shown."""
        return time.monotonic() - self._drawn >= REDRAW_SECONDS

    def show(self, rows: Sequence[Row]) -> None:
        """Show the rows as they are now."""
        self._drawn = time.monotonic()
        if self._live:
            self._live.update(self._view(rows), refresh=True)
        else:
            for text in [*changes(self._before, rows), *self._overdue(rows)]:
                self._say(text)
        self._before = {row.task: row for row in rows}

    def _view(self, rows: Sequence[Row], cut: bool = True) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        height = max(3, self._console.height - 4) if cut else None
        above = Text(title(self._name, rows, time.monotonic() - self._began), "bold")
        return Group(above, table(rows, self._console.width, height, fold=not cut))

    def _overdue(self, rows: Sequence[Row]) -> Iterator[str]:
        """Running tasks of which nothing was said for a while, although they got on."""
        for row in rows:
            old = self._before.get(row.task)
            at, far = self._said.get(row.task, (0.0, ""))
            if old is None or _stage(old) != _stage(row):
                self._said[row.task] = (self._drawn, how_far(row))
            elif row.state == "running" and how_far(row) != far and self._drawn - at > LINE_SECONDS:
                self._said[row.task] = (self._drawn, how_far(row))
                yield line(row)

    def _say(self, text: str) -> None:
        self._console.print(f"{datetime.now(UTC):%H:%M:%S}  {text}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def quiet_terminal() -> Iterator[None]:
    """Keep a terminal from echoing ^C into the board."""
    if not sys.stdin.isatty():
        yield
        return
    import termios

    before = termios.tcgetattr(sys.stdin)
    silent = [*before]
    silent[3] &= ~termios.ECHOCTL
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
