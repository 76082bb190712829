"""The command ``logs``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from workflows.commands._options import AsJson, ClusterProfile, OfFold, OfModel, OfStage, OneRun, profile_of
from workflows.commands._output import console

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.contract.task import TaskId
    from workflows.runs.lines import Line

COLOURS: Final = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta")


def logs(
    run: OneRun = None,
    stage: OfStage = None,
    model: OfModel = None,
    fold: OfFold = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="print more as it comes, until the run ends")] = False,
    since: Annotated[str | None, typer.Option(help="no older than 90s, 10m, 2h, 1d")] = None,
    grep: Annotated[str | None, typer.Option(help="lines that match a regular expression")] = None,
    profile: ClusterProfile = None,
    as_json: AsJson = False,
) -> None:
    """Print the tasks' logs: from their pods while they live, from the store afterwards."""
    from workflows.runs import logs as run_logs
    from workflows.runs.lines import wanted
    from workflows.runs.run import find_run

    pick, chosen = run_logs.Pick(stage, model, fold), wanted(since, grep)
    with find_run(run, profile_of(profile)) as found:
        printer = _Printer(console(), pick.of(found), as_json=as_json)
        if follow:
            run_logs.follow(found, pick, chosen, printer)
        else:
            for line in run_logs.there_now(found, pick, chosen):
                printer(line)


class _Printer:
    """Prints lines, each with its task in the task's own colour, one below the other."""

    def __init__(self, console: "Console", tasks: "Sequence[TaskId]", *, as_json: bool) -> None:
        self._console, self._as_json = console, as_json
        self._width = max(len(task.name) for task in tasks)
        self._colours: dict[str, str] = {}

    def __call__(self, line: "Line") -> None:
        """Print a line."""
        from rich.text import Text

        if self._as_json:
            print(line.as_json(), flush=True)
            return
        colour = self._colours.setdefault(line.task, COLOURS[len(self._colours) % len(COLOURS)])
        attempt = f" ({line.attempt + 1})" if line.attempt else ""
        loud = {"warning": "yellow", "error": "bold red", "critical": "bold red"}.get(line.level, "")
        self._console.print(
            Text(f"{line.task}{attempt}".ljust(self._width), colour), Text(line.at[11:], "dim"), Text(line.text, loud),
            soft_wrap=True, highlight=False,
        )  # fmt: skip
