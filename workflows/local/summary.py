"""The output of ``cv.py run``: rows for the board, failures with how to repeat them, results."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jobs.contract.durations import duration
from jobs.contract.exits import TABLE, Exit
from jobs.contract.records import without_text
from workflows.board.rows import FINISHING, Row
from workflows.local.engine import Result, StepRun
from workflows.local.graph import State
from workflows.local.machine import Machine

if TYPE_CHECKING:
    from rich.console import Console

LOG_LINES: Final = 12


def row_of(run: StepRun) -> Row:
    """Return a step run as a row of the board."""
    attempt = run.attempt
    if attempt is None:
        return Row(run.step.name, str(run.state))
    running = run.state is State.RUNNING and run.retry_at is None
    note = run.outputs.get("score", "")
    if run.end and run.end.exit_code != "0" and not running:
        note = f"exit {run.end.exit_code}" + (", retried shortly" if run.retry_at else "")
    seconds = time.monotonic() - attempt.started if running else run.seconds
    phase = "starting" if running else ""
    row = Row(run.step.name, str(run.state), phase, attempt.number, seconds=seconds, note=note)
    beat = attempt.heartbeat()
    if beat is None:
        return row
    row = row.with_heartbeat(beat)
    return replace(row, phase=FINISHING, note="", eta=None) if running and beat.exit_code is not None else row


def say_start(console: "Console", tasks: int, folder: Path, machine: Machine) -> None:
    """Print what starts, and where its logs are."""
    gpus = f"GPUs {', '.join(machine.gpus)}" if machine.gpus else "no GPU"
    text = f"{tasks} tasks, {machine.jobs} at once, {machine.cores} cores, {gpus}; logs in {folder}/tasks"
    _say(console, f"run {folder.name}: {text}", "dim")


def say_end(console: "Console", folder: Path, result: Result, results: Sequence[Path], *, embedded: bool) -> None:
    """Print failures, or the results and their files, and the next command."""
    for failed in [run for run in result.runs if run.state is State.FAILED]:
        _say_failure(console, failed, embedded=embedded)
    if result.exit is Exit.DONE:
        _say_results(console, results, result.seconds)
    elif result.message:
        _say(console, f"\n{folder.name}: {result.message}.", "yellow")
    else:
        _say(console, "\nFix the cause and repeat the command: finished tasks are not repeated.", "yellow")


def _say_failure(console: "Console", run: StepRun, *, embedded: bool) -> None:
    assert run.attempt is not None
    assert run.end is not None
    code = int(run.end.exit_code)
    meaning = TABLE[Exit(code)].says if code in list(Exit) else "no exit code of a stage"
    tries = f" at attempt {run.attempt.number + 1}" if run.attempt.number else ""
    _say(console, f"\n{run.step.name} failed{tries}, exit code {code}: {meaning}", "bold red")
    for line in run.attempt.log.read_text(errors="replace").splitlines()[-LOG_LINES:]:
        _say(console, f"  {line}")
    _say(console, f"full log    {_near(run.attempt.log)}", "dim")
    server = "python -m workflows.store.embedded " if embedded else ""
    _say(console, f"repeat it   {server}{run.attempt.repeat}", "dim")


def _say_results(console: "Console", results: Sequence[Path], seconds: float) -> None:
    files = {file.name: file for file in results}
    _say(console, "")
    if "metrics.json" in files:
        metrics = json.loads(files["metrics.json"].read_text())
        headline, missing = metrics["headline"], metrics["missing_folds"]
        if headline["score"] is not None:
            _say(console, f"{headline['figure']:<12}{headline['score']:.4f}{without_text(missing)}", "bold green")
    for file in results:
        what = "recipe" if file.suffix == ".yaml" else file.stem
        _say(console, f"{what:<12}{_near(file)}")
    _say(console, f"{'took':<12}{duration(seconds)}")
    if "metrics.json" in files:
        advice = "python workflows/cv.py recipes, then run -e NAME --data DIR with films of your own"
        _say(console, f"{'next':<12}{advice}", "dim")


def _near(path: Path) -> Path:
    """Return a path relative to the working directory if it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _say(console: "Console", text: str, style: str = "") -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
