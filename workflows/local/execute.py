"""Execute a run's workflow on this machine, for ``cv.py run``."""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jobs.contract import environment
from jobs.contract.exits import BadInput, Damaged, Exit
from jobs.contract.experiment import Experiment
from jobs.contract.experiment.tracker import check_tracker
from jobs.contract.needs.teachers import check_stored
from jobs.contract.stored import layout
from workflows.board.board import Board, quiet_terminal
from workflows.lint.check import check_here, refuse_errors
from workflows.local.engine import Engine, StepRun
from workflows.local.machine import Machine
from workflows.local.program import read
from workflows.local.record import record_end
from workflows.local.summary import row_of, say, say_end, say_start
from workflows.manifest.spec import Manifest, RunSpec
from workflows.store.opening import cache_variables, local_store, open_store

if TYPE_CHECKING:
    from rich.console import Console

RUNS: Final = Path("runs")
METRICS, SUBMISSION = "metrics.json", "submission.csv"
RESULTS: Final = ("report.html", "card.md", "labels.html", "labels.csv", "quality.html", METRICS, SUBMISSION)
DELIVERED: Final = (Exit.DONE, Exit.DEGRADED)


def finished_otherwise(spec: RunSpec) -> str | None:
    """A sentence if a finished run of this name in the store had another experiment, whose results would be lost."""
    from jobs.runtime.store import Missing

    with local_store():
        store = open_store()
        if not any(store.size(layout.report(spec.run, file)) is not None for file in (METRICS, SUBMISSION)):
            return None
        try:
            stored = store.get_record(layout.run_experiment(spec.run), Experiment)
        except Missing:
            return None
        except Damaged as error:  # or written by another version
            return f"Run {spec.run} exists, and its experiment cannot be read: {error}"
        same = stored.hash == spec.on_its_films.hash
        return None if same else f"Run {spec.run} exists with another experiment ({stored.name})."


def execute(spec: RunSpec, machine: Machine, console: "Console") -> Exit:
    """Execute a run's workflow on this machine.

    Args:
        spec: the run's specification. Fields of its profile that have no meaning for a process are ignored.
        machine: the cores and GPUs to use.
        console: receives the board and messages.

    Returns:
        The run's exit code.

    Raises:
        BadInput: lint finds errors, the tracker is not installed, the same run is already running, or the engine does
            not support its workflow.
    """
    refuse_errors(check_here(spec), lambda text: say(console, text, "yellow"), "started")
    check_tracker(spec.experiment.tracker)
    folder = RUNS / spec.run
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder), local_store() as store:
        opened = open_store()
        next(opened.list(layout.run(spec.run)), None)  # fail early on wrong keys or a missing bucket
        if not spec.predicts:
            check_stored(spec.experiment, opened.find_json, opened.url)
        program = read(_manifest(spec))
        for name in RESULTS:  # of an earlier execution; what lies there at the end is this one's
            (folder / name).unlink(missing_ok=True)
        say_start(console, len(program.steps), folder, machine)
        with quiet_terminal(), Board(spec.run, console) as board:

            def watch(runs: Sequence[StepRun]) -> None:
                store.ensure_running()
                if board.due or all(run.state.ended for run in runs):
                    board.show([row_of(run) for run in runs])

            tasks = {task.name: task.id for task in spec.tasks}

            def record(run: StepRun) -> None:
                if task := tasks.get(run.step.name):
                    record_end(opened, spec.run, task, run)

            overrides = {**store.environment, **_local_environment(spec)}
            result = Engine(program, (folder / "tasks").absolute(), machine, overrides, watch, record).run()
        fetched = _fetch_results(spec, folder) if result.exit in DELIVERED else []
    say_end(console, spec, result, fetched, embedded=store.embedded)
    return result.exit


def running_here(run: str) -> bool:
    """Whether a process executes the run in this working directory."""
    if not (folder := RUNS / run).is_dir():
        return False
    try:
        with _locked(folder):
            return False
    except BadInput:
        return True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the run's lock, so that it is not executed twice at once; the kernel releases it with the process."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(f"{folder.name} is already running. Wait for it, or name this run with --run") from error
        yield


def _manifest(spec: RunSpec) -> Manifest:
    from workflows.manifest.dag import manifest  # hera takes a second to import

    # Nobody far away has to be told of a run that ends on the user's own terminal.
    return manifest(spec.model_copy(update={"profile": spec.profile.model_copy(update={"notify": None})}))


def _local_environment(spec: RunSpec) -> dict[str, str | None]:
    """Return the variables that differ from a pod's."""
    order = spec.model_copy(update={"local": True}).kept
    return {**cache_variables(), environment.ORDER: order, "HOME": str(Path.home())}


def _fetch_results(spec: RunSpec, folder: Path) -> list[Path]:
    from jobs.runtime.store import Missing

    name, experiment = spec.run, spec.experiment
    with_search = [model for model, detector in experiment.detectors.items() if detector.evolve]
    keys = [layout.report(name, file) for file in RESULTS]
    keys += [layout.recipe(name, model, fold) for model in with_search for fold in experiment.folds.selected]
    store, fetched = open_store(), []
    for key in keys:
        with suppress(Missing):
            fetched.append(store.download(key, folder / key.rsplit("/", 1)[-1]))
    return fetched
