"""``cv.py run``: an experiment's workflow, executed here."""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.contract import environment, layout
from jobs.contract.exits import BadInput, Exit
from jobs.contract.experiment import Experiment
from jobs.contract.profile import Profile
from jobs.runtime.provenance import revision
from workflows.board import Board, quiet_terminal
from workflows.local.engine import Engine, TaskRun
from workflows.local.machine import Machine
from workflows.local.plan import Plan, read
from workflows.local.report import row_of, say_end, say_start
from workflows.plan import Predict
from workflows.s3_server import default_folder
from workflows.stores import local_store, open_store

if TYPE_CHECKING:
    from rich.console import Console

RUNS = Path("runs")
RESULTS = ("report.html", "quality.html", "metrics.json", "submission.csv")
# Programs keep compiled code and fonts there; a pod's own copy is gone with the pod, here it may stay.
KEPT = {"NUMBA_CACHE_DIR": "numba", "MPLCONFIGDIR": "matplotlib"}


def run(
    experiment: Experiment,
    profile: Profile,
    name: str,
    machine: Machine,
    console: "Console",
    predict: Predict | None = None,
) -> Exit:
    """Execute an experiment's workflow on this machine.

    Args:
        experiment: what is trained and scored.
        profile: where pods would run; what of it means something to a process is honoured.
        name: the run's. The same name goes on with the same run.
        machine: what there is to deal out.
        console: where people read.
        predict: a test set to predict with a finished run's weights, in place of training.

    Returns:
        What came of it, as an exit code of the table.
    """
    folder = RUNS / name
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder), local_store() as store:
        next(open_store().list(layout.run(name)), None)  # wrong keys and a bucket that is not there are told at once
        plan = _plan(experiment, profile, name, predict)
        say_start(console, len(plan.tasks), folder, machine)
        with quiet_terminal(), Board(name, console) as board:

            def watch(runs: Sequence[TaskRun]) -> None:
                if board.due or all(run.state.ended for run in runs):
                    board.show([row_of(one) for one in runs])

            local = {**store.environment, **_local_environment()}
            result = Engine(plan, (folder / "tasks").absolute(), machine, local, watch).run()
        fetched = _fetch_results(name, folder, experiment) if result.exit is Exit.DONE else []
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


def _plan(experiment: Experiment, profile: Profile, name: str, predict: Predict | None) -> Plan:
    from workflows.dag import build  # hera takes a second to import

    return read(build(experiment, profile, name, predict=predict, revision=revision()).to_dict())


def _local_environment() -> dict[str, str]:
    cache = default_folder().parent
    kept = {variable: str(cache / folder) for variable, folder in KEPT.items()}
    for folder in kept.values():
        Path(folder).mkdir(parents=True, exist_ok=True)
    return {**kept, environment.CACHE: str(cache / "packs"), "HOME": str(Path.home())}


def _fetch_results(name: str, folder: Path, experiment: Experiment) -> list[Path]:
    from jobs.runtime.store import Missing

    searched = [model for model, detector in experiment.detectors.items() if detector.evolve]
    keys = [layout.report(name, file) for file in RESULTS]
    keys += [layout.recipe(name, model, fold) for model in searched for fold in experiment.folds.selected]
    store, found = open_store(), []
    for key in keys:
        with suppress(Missing):
            found.append(store.download(key, folder / key.rsplit("/", 1)[-1]))
    return found
