"""``cv.py run``: an experiment's workflow, executed here."""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.contract import environment, layout
from jobs.contract.exits import BadInput, Exit
from workflows.board.board import Board, quiet_terminal
from workflows.local.engine import Engine, StepRun
from workflows.local.machine import Machine
from workflows.local.program import read
from workflows.local.summary import row_of, say_end, say_start
from workflows.manifest.spec import Manifest, RunSpec
from workflows.store.embedded import default_folder
from workflows.store.opening import local_store, open_store

if TYPE_CHECKING:
    from rich.console import Console

RUNS = Path("runs")
RESULTS = ("report.html", "quality.html", "metrics.json", "submission.csv")
# Programs keep compiled code and fonts there; a pod's own copy is gone with the pod, here it may stay.
KEPT = {"NUMBA_CACHE_DIR": "numba", "MPLCONFIGDIR": "matplotlib"}


def execute(spec: RunSpec, machine: Machine, console: "Console") -> Exit:
    """Execute a run's workflow on this machine.

    Args:
        spec: what was ordered; what of its profile means something to a process is honoured.
        machine: the cores and GPUs to use.
        console: where people read.

    Returns:
        How it ended, as an exit code of the table.
    """
    folder = RUNS / spec.run
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder), local_store() as store:
        next(open_store().list(layout.run(spec.run)), None)  # wrong keys and a missing bucket are reported at once
        program = read(_manifest(spec))
        say_start(console, len(program.steps), folder, machine)
        with quiet_terminal(), Board(spec.run, console) as board:

            def watch(runs: Sequence[StepRun]) -> None:
                if board.due or all(run.state.ended for run in runs):
                    board.show([row_of(one) for one in runs])

            local = {**store.environment, **_local_environment()}
            result = Engine(program, (folder / "tasks").absolute(), machine, local, watch).run()
        fetched = _fetch_results(spec, folder) if result.exit is Exit.DONE else []
    say_end(console, folder, result, fetched, embedded=store.embedded)
    return result.exit


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Refuse to execute one run twice at the same time: the kernel forgets the lock with the process."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(f"{folder.name} is running already. Wait for it, or give this run a --run NAME") from error
        yield


def _manifest(spec: RunSpec) -> Manifest:
    from workflows.manifest.dag import manifest  # hera takes a second to import

    return manifest(spec)


def _local_environment() -> dict[str, str | None]:
    """Variables that differ from a pod's. The order is for ``resume``, which is a cluster's command."""
    cache = default_folder().parent
    kept = {variable: str(cache / folder) for variable, folder in KEPT.items()}
    for folder in kept.values():
        Path(folder).mkdir(parents=True, exist_ok=True)
    return {**kept, environment.CACHE: str(cache / "packs"), environment.ORDER: None, "HOME": str(Path.home())}


def _fetch_results(spec: RunSpec, folder: Path) -> list[Path]:
    from jobs.runtime.store import Missing

    name, experiment = spec.run, spec.experiment
    searched = [model for model, detector in experiment.detectors.items() if detector.evolve]
    keys = [layout.report(name, file) for file in RESULTS]
    keys += [layout.recipe(name, model, fold) for model in searched for fold in experiment.folds.selected]
    store, found = open_store(), []
    for key in keys:
        with suppress(Missing):
            found.append(store.download(key, folder / key.rsplit("/", 1)[-1]))
    return found
