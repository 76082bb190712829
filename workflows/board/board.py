"""The board: one line per task with phase, attempt, epoch, best score and time left.

On a terminal it is redrawn in place; elsewhere changes are printed as plain lines. It depends on :class:`Row` alone, so
local, cluster and stored runs share it.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from jobs.contract.durations import duration
from jobs.contract.stored.records import without_text
from workflows.board.rows import FINISHING, Row, how_far, missing_folds

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod, RenderableType
    from rich.live import Live
    from rich.table import Table

REDRAW_SECONDS: Final = 0.25
LINE_SECONDS: Final = 30.0  # between two plain lines about the progress of a task
GAP: Final = 2  # characters between two columns
MIN_NOTE_WIDTH: Final = 12
OPTIONAL_COLUMNS: Final = ("try", "best", "left", "time")  # dropped in this order on a narrow terminal
# The symbol and style of each state.
LOOKS: Final = {
    "waiting": ("·", "dim"),
    "running": ("▸", "cyan"),
    "succeeded": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "omitted": ("–", "dim"),
    "stopped": ("■", "yellow"),
}


def table(rows: Sequence[Row], width: int = 120, height: int | None = None, fold: bool = True) -> "Table":
    """Draw the board without empty columns and those that do not fit.

    Args:
        rows: the tasks.
        width: characters per line.
        height: lines available. If there are more tasks, waiting and finished ones are summarised in a last line.
        fold: wrap long notes; otherwise truncate them.
    """
    from rich.table import Table
    from rich.text import Text

    shown, summary = _fit(rows, height)
    cells = {
        "task": [row.task for row in shown],
        "phase": [row.phase or row.state for row in shown],
        "try": [str(row.attempt) if row.attempt > 1 else "" for row in shown],
        "epoch": [how_far(row) for row in shown],
        "best": ["" if row.best is None else f"{row.best:.4f}" for row in shown],
        "time": [duration(row.seconds) for row in shown],
        "left": [duration(row.eta) if row.state == "running" else "" for row in shown],
    }
    widths = {name: max(map(len, (name, *texts))) + GAP for name, texts in cells.items() if any(texts)}
    for name in OPTIONAL_COLUMNS:
        if sum(widths.values()) + 1 + GAP > width:
            widths.pop(name, None)
    drawn = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    drawn.add_column("", no_wrap=True, width=1)
    for name in widths:
        justify: JustifyMethod = "left" if name in ("task", "phase") else "right"
        drawn.add_column(name, justify=justify, no_wrap=True)
    room = width - sum(widths.values()) - 1 - GAP
    if room >= MIN_NOTE_WIDTH and any(row.note for row in shown):
        drawn.add_column("", overflow="fold" if fold else "ellipsis", no_wrap=not fold, max_width=room)
    for index, row in enumerate(shown):
        symbol, style = LOOKS[row.state]
        texts = [Text(cells[name][index], style if name == "phase" else "") for name in widths]
        row_style = "dim" if row.state in ("waiting", "omitted") else ""
        note = [Text(row.note)] if len(drawn.columns) > len(widths) + 1 else []
        drawn.add_row(Text(symbol, style), *texts, *note, style=row_style)
    if summary:
        drawn.add_row("", f"and {summary}", style="dim")
    return drawn


def _fit(rows: Sequence[Row], height: int | None) -> tuple[list[Row], str]:
    if height is None or len(rows) <= height:
        return list(rows), ""
    active = [row for row in rows if row.state not in ("waiting", "succeeded")][: max(1, height - 1)]
    counts = {state: sum(row.state == state for row in rows if row not in active) for state in LOOKS}
    return active, ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def title(name: str, rows: Sequence[Row], seconds: float | None) -> str:
    """Format the line above the table: run, tasks done and failed, folds that the result is without, time if known."""
    done = sum(row.state == "succeeded" for row in rows)
    failed = sum(row.state == "failed" for row in rows)
    parts = [f"{done} of {len(rows)} tasks done"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"result{without_text(missing)}"] if (missing := missing_folds(rows)) else []
    return "   ".join(filter(None, [name, ", ".join(parts), duration(seconds)]))


def changes(before: dict[str, Row], rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line for each task whose state, phase or attempt has changed."""
    for row in rows:
        old = before.get(row.task)
        if old is None and row.state == "waiting":
            continue
        if row.phase != FINISHING and (old is None or _progress(old) != _progress(row)):
            yield line(row)


def _progress(row: Row) -> tuple[str, str, int]:
    return row.state, row.phase, row.attempt


def line(row: Row) -> str:
    """Format a task as one plain line."""
    parts = [row.phase or row.state]
    parts += [f"attempt {row.attempt}"] if row.attempt > 1 else []
    parts += [f"epoch {how_far(row)}"] if how_far(row) else []
    parts += [f"best {row.best:.4f}"] if row.best is not None else []
    parts += [f"{duration(row.eta)} left"] if row.eta and row.state == "running" else []
    ended = row.state in ("succeeded", "failed", "stopped") and row.seconds is not None
    parts += [f"after {duration(row.seconds)}"] if ended else []
    parts += [row.note] if row.note else []
    return f"{row.task}: {', '.join(parts)}"


class Board:
    """Shows rows as they change: redrawn in place on a terminal, as plain lines elsewhere."""

    def __init__(self, name: str, console: "Console", seconds: float | None = 0.0) -> None:
        """Create a board for a run that started ``seconds`` ago; None if that is not known."""
        self._name, self._console = name, console
        self._drawn = time.monotonic()
        self._began = None if seconds is None else self._drawn - seconds
        self._before: dict[str, Row] = {}
        self._printed: dict[str, tuple[float, str]] = {}  # task → time and epochs of its last line
        self._live: Live | None = None
        self._notes: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            from rich.live import Live

            # No refresh thread: the engine forks, and redraws often enough.
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._live.update(self._view(list(self._before.values()), cut=False), refresh=True)
            self._live.stop()

    @property
    def due(self) -> bool:
        """Whether the rows should be shown again."""
        return time.monotonic() - self._drawn >= REDRAW_SECONDS

    def show(self, rows: Sequence[Row], notes: Sequence[str] = ()) -> None:
        """Show the current rows, and below them notes about the whole run; as plain lines, only new notes."""
        self._drawn = time.monotonic()
        before, self._notes = self._notes, tuple(notes)
        if self._live:
            self._live.update(self._view(rows), refresh=True)
        else:
            new = [note for note in notes if note not in before]
            for text in [*changes(self._before, rows), *self._periodic(rows), *new]:
                self._print(text)
        self._before = {row.task: row for row in rows}

    def _view(self, rows: Sequence[Row], cut: bool = True) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        notes = [Text(note, "yellow") for note in self._notes]
        lines = sum(1 + len(note) // self._console.width for note in self._notes)
        height = max(3, self._console.height - 4 - lines) if cut else None
        elapsed = None if self._began is None else time.monotonic() - self._began
        above = Text(title(self._name, rows, elapsed), "bold")
        return Group(above, table(rows, self._console.width, height, fold=not cut), *notes)

    def _periodic(self, rows: Sequence[Row]) -> Iterator[str]:
        """Yield a line for each running task with progress whose last line is older than ``LINE_SECONDS``."""
        for row in rows:
            old = self._before.get(row.task)
            at, epochs = self._printed.get(row.task, (0.0, ""))
            if old is None or _progress(old) != _progress(row):
                self._printed[row.task] = (self._drawn, how_far(row))
            elif row.state == "running" and how_far(row) != epochs and self._drawn - at > LINE_SECONDS:
                self._printed[row.task] = (self._drawn, how_far(row))
                yield line(row)

    def _print(self, text: str) -> None:
        self._console.print(f"{datetime.now(UTC):%H:%M:%S}  {text}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def quiet_terminal() -> Iterator[None]:
    """Keep a terminal from echoing ``^C`` into the board."""
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
