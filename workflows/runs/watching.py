"""Show a run's board, once or until the run ends."""

import time
from typing import TYPE_CHECKING, Final

from jobs.contract.exits import Exit
from jobs.contract.stored import layout
from jobs.contract.stored.records import without_text
from workflows.board.board import Board, line, quiet_terminal, table, title
from workflows.board.rows import missing_folds, score_line
from workflows.cluster import workflow_json
from workflows.runs.run import Run

if TYPE_CHECKING:
    from rich.console import Console

POLL_SECONDS: Final = 3.0


def show(run: Run, console: "Console") -> None:
    """Print the board once: a table on a terminal, else one line per task."""
    rows = run.status()
    console.print(title(_name(run), rows, run.seconds), highlight=False, markup=False)
    if console.is_terminal:
        console.print(table(rows, console.width))
    else:
        for row in rows:
            console.print(line(row), highlight=False, markup=False, soft_wrap=True)
    for note in run.notes:
        console.print(note, style="yellow", highlight=False, markup=False, soft_wrap=True)
    if run.phase == workflow_json.SUCCEEDED or missing_folds(rows):
        _print_result(run, console)


def watch(run: Run, console: "Console") -> Exit:
    """Update the board until the run ends. Ctrl-C detaches; the run continues.

    The board goes on, with a note, while the cluster or the store does not answer.
    """
    with quiet_terminal(), Board(_name(run), console, run.seconds) as board:
        was_there = run.workflow is not None
        try:
            while True:
                rows = run.status()
                board.show(rows, run.notes)
                over = run.workflow or was_there or not any(row.state in ("waiting", "running") for row in rows)
                if not run.live and over:
                    break
                time.sleep(POLL_SECONDS)
                run.refresh()
        except KeyboardInterrupt:
            console.print(
                f"Detached; the run continues. cv.py status {run.name} -w attaches, cv.py stop {run.name} stops it.",
                highlight=False, markup=False, soft_wrap=True,
            )  # fmt: skip
            return Exit.DONE
    return ended(run, console)


def ended(run: Run, console: "Console") -> Exit:
    """Print how the run ended and what to do next; return its exit code."""
    if run.workflow is None:
        return Exit.CHECKPOINTED if run.deleted else Exit.DONE
    if run.phase == workflow_json.SUCCEEDED:
        _print_result(run, console)
        return Exit.DONE
    message = (run.workflow.get("status") or {}).get("message") or ""
    console.print(
        f"Workflow {workflow_json.name(run.workflow)} ended: {run.phase}{f' ({message})' if message else ''}. "
        f"cv.py explain {run.name} shows the cause, cv.py resume {run.name} runs the missing tasks.",
        style="red", highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    if (run.workflow.get("spec") or {}).get("shutdown"):
        return Exit.CHECKPOINTED
    if missing := missing_folds(run.status()):
        console.print(f"Degraded: the result is{without_text(missing)}.", style="yellow", highlight=False)
        _print_result(run, console)
        return Exit.DEGRADED
    codes = [node.attempts[-1].exit_code for node in workflow_json.tasks(run.workflow).values() if node.attempts]
    known = [Exit(int(code)) for code in codes if code.isdigit() and int(code) in list(Exit)]
    return next((code for code in known if code is not Exit.DONE), Exit.BUG)


def _print_result(run: Run, console: "Console") -> None:
    """Print where the result is, and last the score with its interval."""
    if run.spec is None:
        return
    profile = run.spec.profile
    file = layout.report(run.name, "submission.csv" if run.spec.predicts else "report.html")
    store = run.store.url if run.spec.local else profile.store.url.rstrip("/")
    console.print(f"Result  {store}/{file}", highlight=False, markup=False, soft_wrap=True)
    if not run.spec.local and (page := profile.page(file)):
        console.print(f"Page    {page}", highlight=False, markup=False, soft_wrap=True)
    if run.spec.predicts:
        return
    if metrics := run.optional("The score", lambda: run.store.find_json(layout.report(run.name, "metrics.json"))):
        console.print(score_line(metrics), style="bold green", highlight=False, markup=False, soft_wrap=True)


def _name(run: Run) -> str:
    return f"{run.name} · {workflow_json.name(run.workflow)}" if run.workflow else run.name
