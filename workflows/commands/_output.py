"""Output of the commands: a console for people, JSON and tab-separated lines for programs."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console


def console() -> "Console":
    """Return a console on standard output."""
    from rich.console import Console

    return Console()


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    import json

    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on a terminal, else tab-separated lines without a header."""
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(row))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(*head, box=None, header_style="dim", padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(Text(row[0], "bold"), *(Text(cell) for cell in row[1:]))
    console().print(table)
