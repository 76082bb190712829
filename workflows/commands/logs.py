"""The command ``logs``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from workflows.commands._options import AsJson, ClusterProfile, OfFold, OfModel, OfStage, OneRun, profile_of
from workflows.commands._output import console

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.contract.task import TaskId
    from workflows.runs.logs.lines import LogLine

COLOURS: Final = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta")


def logs(
    name: OneRun = None,
    stage: OfStage = None,
    model: OfModel = None,
    fold: OfFold = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="print new lines as they arrive, until the run ends")
    ] = False,
    since: Annotated[str | None, typer.Option(help="only lines of the last 90s, 10m, 2h, 1d …")] = None,
    grep: Annotated[str | None, typer.Option(help="only lines that match a regular expression")] = None,
    profile: ClusterProfile = None,
    as_json: AsJson = False,
) -> None:
    """Print the logs of tasks: from their pods while these exist, from the store afterwards."""
    from workflows.runs.finding.find import find_run
    from workflows.runs.logs import reading
    from workflows.runs.logs.lines import line_filter

    tasks = reading.TaskFilter(stage, model, fold)
    with find_run(name, profile_of(profile)) as run:
        lines = line_filter(since, grep, run.now())
        printer = _Printer(console(), tasks.select(run), as_json=as_json)
        if follow:
            reading.follow(run, tasks, lines, printer)
        else:
            for line in reading.current_lines(run, tasks, lines):
                printer(line)


class _Printer:
    """Prints lines, each with its task's name in a colour of its own."""

    def __init__(self, console: "Console", tasks: "Sequence[TaskId]", *, as_json: bool) -> None:
        self._console, self._as_json = console, as_json
        self._width = max(len(task.name) for task in tasks)
        self._colours: dict[str, str] = {}

    def __call__(self, line: "LogLine") -> None:
        """Print a line."""
        from rich.text import Text

        if self._as_json:
            print(line.as_json(), flush=True)
            return
        colour = self._colours.setdefault(line.task, COLOURS[len(self._colours) % len(COLOURS)])
        attempt = f" ({line.attempt})" if line.attempt > 1 else ""
        style = {"warning": "yellow", "error": "bold red", "critical": "bold red"}.get(line.level, "")
        self._console.print(
            Text(f"{line.task}{attempt}".ljust(self._width), colour), Text(line.at[11:], "dim"), Text(line.text, style),
            soft_wrap=True, highlight=False,
        )  # fmt: skip
