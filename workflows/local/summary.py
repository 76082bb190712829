"""The output of ``cv.py run``: rows for the board, failures with how to repeat them, results."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jobs.contract.durations import duration
from jobs.contract.exits import TABLE, Exit
from jobs.contract.experiment.source import PREFIX
from jobs.contract.stored.records import without_text
from workflows.board.rows import FINISHING, Row, missing_folds, score_line
from workflows.local.engine import Result, StepRun
from workflows.local.graph import State
from workflows.local.machine import Machine

if TYPE_CHECKING:
    from rich.console import Console

    from workflows.manifest.spec import RunSpec

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
    seconds = run.seconds + (time.monotonic() - attempt.started if running else 0.0)
    phase = "starting" if running else ""
    row = Row(run.step.name, str(run.state), phase, attempt.number + 1, seconds=seconds, note=note)
    beat = attempt.heartbeat()
    if beat is None:
        return row
    row = row.with_heartbeat(beat)
    return replace(row, phase=FINISHING, note="", eta=None) if running and beat.exit_code is not None else row


def say_start(console: "Console", tasks: int, folder: Path, machine: Machine) -> None:
    """Print what starts, and where its logs are."""
    gpus = f"GPUs {', '.join(machine.gpus)}" if machine.gpus else "no GPU"
    text = f"{tasks} tasks, {machine.jobs} at once, {machine.cores} cores, {gpus}; logs in {folder}/tasks"
    say(console, f"run {folder.name}: {text}", "dim")


def say_end(console: "Console", spec: "RunSpec", result: Result, results: Sequence[Path], *, embedded: bool) -> None:
    """Print failures, results and their files, the next command, and last the score."""
    for alike in _failures(result):
        _say_failure(console, alike, embedded=embedded)
    if result.exit in (Exit.DONE, Exit.DEGRADED):
        _say_results(console, spec, results, result)
    elif result.message:
        say(console, f"\n{spec.run}: {result.message}.", "yellow")
    else:
        say(console, "\nFix the cause and repeat the command: finished tasks are not repeated.", "yellow")


def _failures(result: Result) -> list[list[StepRun]]:
    """The failed steps; those with the same exit code and message together, as five folds often fail alike."""
    alike: dict[tuple[str, str], list[StepRun]] = {}
    for run in result.runs:
        if run.state is State.FAILED and run.attempt and run.end:
            beat = run.attempt.heartbeat()
            alike.setdefault((run.end.exit_code, beat.message if beat else ""), []).append(run)
    return list(alike.values())


def _say_failure(console: "Console", alike: Sequence[StepRun], *, embedded: bool) -> None:
    run = alike[0]
    assert run.attempt is not None
    assert run.end is not None
    code = int(run.end.exit_code)
    meaning = TABLE[Exit(code)].says if code in list(Exit) else "no exit code of a stage"
    tries = f" at attempt {run.attempt.number + 1}" if run.attempt.number else ""
    names = ", ".join(one.step.name for one in alike)
    say(console, f"\n{names} failed{tries}, exit code {code}: {meaning}", "bold red")
    for line in run.attempt.log.read_text(errors="replace").splitlines()[-LOG_LINES:]:
        say(console, f"  {line}")
    say(console, f"full log    {_near(run.attempt.log)}", "dim")
    server = "python -m workflows.store.embedded " if embedded else ""
    say(console, f"repeat it   {server}{run.attempt.repeat}", "dim")


def _say_results(console: "Console", spec: "RunSpec", results: Sequence[Path], result: Result) -> None:
    files = {file.name: file for file in results}
    without = without_text(missing_folds([row_of(run) for run in result.runs]))
    say(console, "")
    for file in results:
        what = "recipe" if file.suffix == ".yaml" else file.stem
        say(console, f"{what:<12}{_near(file)}")
    say(console, f"{'took':<12}{duration(result.seconds)}")
    if without:
        say(console, f"{'degraded':<12}the result is{without}; cv.py resume {spec.run} runs what failed", "yellow")
    elif not spec.predicts:
        say(console, f"{'next':<12}{_next(spec)}", "dim")
    if "metrics.json" in files:
        say(console, score_line(json.loads(files["metrics.json"].read_text())), "bold green")


def _next(spec: "RunSpec") -> str:
    if spec.experiment.data.source.startswith(PREFIX):
        return "python workflows/cv.py recipes, then run -e NAME --data DIR with films of your own"
    return f"python workflows/cv.py predict FILM… --from {spec.run}"


def _near(path: Path) -> Path:
    """Return a path relative to the working directory if it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def say(console: "Console", text: str, style: str = "") -> None:
    """Print a line as it is, however long."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
