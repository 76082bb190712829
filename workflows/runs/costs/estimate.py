"""What earlier runs of like tasks took: a forecast of a run, from the costs that finished work recorded."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from jobs.contract.durations import duration
from jobs.contract.exits import Damaged, OtherVersion
from jobs.contract.experiment import Experiment
from jobs.contract.plan import fold_tasks
from jobs.contract.stored import layout
from jobs.contract.stored.records import Done, Reference
from jobs.contract.task import TaskId
from workflows.runs.stored import list_runs

if TYPE_CHECKING:
    from jobs.runtime.store import Store

RUNS_READ: Final = 10  # the latest that have like tasks
AT_ONCE: Final = 16
# Settings of a model that decide how long a training takes, as far as the model has them.
DECISIVE: Final = ("backbone", "weights", "size", "epochs", "stages", "evolve", "aux")


@dataclass(frozen=True)
class Estimate:
    """What a model's tasks took before.

    Attributes:
        model: its name in the new experiment.
        folds: number of tasks in the new run.
        seconds: of each earlier task, over all of its attempts.
        devices: that they ran on.
        runs: the names of their runs.
    """

    model: str
    folds: int
    seconds: tuple[float, ...]
    devices: tuple[str, ...]
    runs: tuple[str, ...]

    @property
    def total(self) -> float:
        """Seconds of all folds, at the median of the earlier tasks."""
        return median(self.seconds) * self.folds

    def text(self) -> str:
        """E.g. ``b3 3h05m a fold (2h50m to 3h20m, 5 earlier tasks of study-06-1a2b on NVIDIA L40S)``."""
        low, high = min(self.seconds), max(self.seconds)
        spread = f"{duration(low)} to {duration(high)}, " if duration(low) != duration(high) else ""
        many = f"{len(self.seconds)} earlier task{'' if len(self.seconds) == 1 else 's'}"
        where = f"of {', '.join(self.runs)} on {', '.join(self.devices)}"
        return f"{self.model} {duration(median(self.seconds))} a fold ({spread}{many} {where})"


def estimates(store: "Store", experiment: Experiment) -> list[Estimate]:
    """Look for finished trainings like those of an experiment; models without any are left out.

    Alike are models with equal :data:`DECISIVE` settings on the same films.

    Raises:
        ServiceAway: the store does not answer.
    """
    wanted = {name: _decisive(experiment, name) for name in experiment.models}
    found: dict[str, list[tuple[str, float, str]]] = {name: [] for name in wanted}
    read = 0
    for run in list_runs(store):
        if (before := run.experiment) is None:
            continue
        alike = [
            (name, task)
            for task in fold_tasks(before)
            for name, settings in wanted.items()
            if task.model and _decisive(before, task.model) == settings
        ]
        if not alike or read == RUNS_READ:
            continue
        with ThreadPoolExecutor(AT_ONCE) as pool:
            costs = list(pool.map(lambda item: _cost(store, run.name, item[1]), alike))  # noqa: B023 - ends within
        for (name, _), cost in zip(alike, costs, strict=True):
            if cost:
                found[name].append((run.name, *cost))
        read += any(costs)
    folds = len(experiment.folds.selected)
    return [_estimate(name, folds, costs) for name, costs in found.items() if costs]


def _estimate(model: str, folds: int, costs: list[tuple[str, float, str]]) -> Estimate:
    runs, seconds, devices = zip(*costs, strict=True)
    return Estimate(model, folds, seconds, tuple(dict.fromkeys(devices)), tuple(dict.fromkeys(runs)))


def lines(found: list[Estimate], models: int) -> Iterator[str]:
    """What ``submit`` says of a run with so many models; nothing where there was no like task before."""
    for estimate in found:
        yield f"Before: {estimate.text()}"
    if found:
        part = "" if len(found) == models else f" for {len(found)} of {models} models"
        yield f"Expected: {sum(one.total for one in found) / 3600:.2f} hours of training pods in all{part}."


def _decisive(experiment: Experiment, model: str) -> tuple[Any, ...]:
    settings = experiment.models[model]
    return (experiment.data.source, *(getattr(settings, name, None) for name in DECISIVE))


def _cost(store: "Store", run: str, task: TaskId) -> tuple[float, str] | None:
    """Seconds and device of a finished training, wherever it was made; None if it is not finished."""
    from jobs.runtime.store import Missing

    try:
        works = store.get_record(layout.reference(run, task), Reference).works
        costs = [store.get_record(layout.done(layout.work(task.stage, one)), Done).cost for one in works.values()]
    except (Missing, Damaged, OtherVersion):
        return None
    longest = max(costs, key=lambda cost: cost.seconds, default=None)
    return (longest.seconds, longest.device) if longest else None
