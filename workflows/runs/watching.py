"""Show a run's board, once or until the run ends."""

import time
from typing import TYPE_CHECKING, Final

from jobs.contract import layout
from jobs.contract.exits import Exit
from workflows.board.board import Board, line, quiet_terminal, table, title
from workflows.cluster import workflow as wf
from workflows.runs.run import Run

if TYPE_CHECKING:
    from rich.console import Console

EVERY: Final = 3.0  # seconds between two looks


def show(run: Run, console: "Console") -> None:
    """Print the board once; for other programs a line a task."""
    rows = run.status()
    console.print(title(_name(run), rows, run.seconds), highlight=False, markup=False)
    if console.is_terminal:
        console.print(table(rows, console.width))
    else:
        for row in rows:
            console.print(line(row), highlight=False, markup=False, soft_wrap=True)
    if run.note:
        console.print(run.note, style="yellow", highlight=False, markup=False)
    if run.phase == wf.SUCCEEDED:
        _say_result(run, console)


def watch(run: Run, console: "Console") -> Exit:
    """Keep the board up to date until the run has ended. Ctrl-C detaches; the run goes on."""
    said = ""
    with quiet_terminal(), Board(_name(run), console, run.seconds) as board:
        try:
            while True:
                rows = run.status()
                board.show(rows)
                if run.note and run.note != said:
                    said = run.note
                    console.print(run.note, style="yellow", highlight=False, markup=False)
                if not run.live and (run.workflow or not any(row.state in ("waiting", "running") for row in rows)):
                    break
                time.sleep(EVERY)
                run.refresh()
        except KeyboardInterrupt:
            console.print(
                f"Detached; the run goes on. cv.py status {run.name} -w looks again, cv.py stop {run.name} stops it.",
                highlight=False, markup=False, soft_wrap=True,
            )  # fmt: skip
            return Exit.DONE
    return ended(run, console)


def ended(run: Run, console: "Console") -> Exit:
    """Say how the run ended and what to do next."""
    if run.workflow is None:
        return Exit.DONE
    if run.phase == wf.SUCCEEDED:
        _say_result(run, console)
        return Exit.DONE
    message = (run.workflow.get("status") or {}).get("message") or ""
    console.print(
        f"Workflow {wf.name(run.workflow)} ended: {wf.phase(run.workflow)}{f' ({message})' if message else ''}. "
        f"cv.py explain {run.name} says why, cv.py resume {run.name} does what is missing.",
        style="red", highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    if (run.workflow.get("spec") or {}).get("shutdown"):
        return Exit.CHECKPOINTED
    codes = [node.attempts[-1].exit_code for node in wf.tasks(run.workflow).values() if node.attempts]
    known = [Exit(int(code)) for code in codes if code.isdigit() and int(code) in list(Exit)]
    return next((code for code in known if code is not Exit.DONE), Exit.BUG)


def _say_result(run: Run, console: "Console") -> None:
    """Where the result lies; its score stands in the last row of the board."""
    assert run.spec
    profile = run.spec.profile
    file = layout.report(run.name, "submission.csv" if run.spec.predicts else "report.html")
    console.print(f"Result  {profile.store.url.rstrip('/')}/{file}", highlight=False, markup=False, soft_wrap=True)
    if page := profile.page(file):
        console.print(f"Page    {page}", highlight=False, markup=False, soft_wrap=True)


def _name(run: Run) -> str:
    return f"{run.name} · {wf.name(run.workflow)}" if run.workflow else run.name
