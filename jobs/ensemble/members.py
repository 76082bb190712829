"""Which nets an ensemble stands on, and whether it may."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.contract import layout
from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment
from jobs.contract.plan import fold_tasks
from jobs.contract.records import Done
from jobs.contract.task import TaskId
from jobs.runtime.context import Context


@dataclass(frozen=True)
class Members:
    """The predictions that are put together.

    Attributes:
        folds: the folds that every model has, so that each film is judged by the same ensemble.
        missing: the tasks that are not done, and whose folds were left out.
        done: the finished predictions of each model and fold.
    """

    folds: tuple[int, ...]
    missing: tuple[TaskId, ...]
    done: Mapping[tuple[str, int], Done]

    @property
    def digests(self) -> dict[str, Any]:
        """Digests of the predictions, as inputs of the ensemble's work: model → fold → digest."""
        digests: dict[str, dict[str, str]] = {}
        for (model, fold), done in sorted(self.done.items()):
            digests.setdefault(model, {})[str(fold)] = done.digest
        return digests


def gather(context: Context, dataset: str, test: bool) -> Members:
    """The run's predictions: out of fold, or of a test set.

    Args:
        context: the ensemble's context.
        dataset: the hash of the dataset they must be of.
        test: whether the run predicts a test set.

    Raises:
        BadInput: folds are missing, or were made from another dataset.
    """
    wanted = fold_tasks(context.experiment, predicts=test)
    missing = [task for task in wanted if context.store.size(layout.reference(context.run, task)) is None]
    folds = choose_folds(context.experiment, wanted, missing)
    done = {}
    for task in wanted:
        if task.fold not in folds:
            continue
        assert task.model is not None
        works = context.upstream(task).works
        predictions = context.open_work(task.stage, works["predictions" if test else "oof"])[1]
        # Weights are of one split: their predictions of a fold count only where that very fold was held out.
        origin = predictions if test else context.open_work(task.stage, works["weights"])[1]
        refuse_other_dataset(task, origin.inputs["dataset"], dataset)
        done[task.model, task.fold] = predictions
    return Members(folds, tuple(missing), done)


def choose_folds(experiment: Experiment, wanted: Sequence[TaskId], missing: Sequence[TaskId]) -> tuple[int, ...]:
    """The folds to put together, given the tasks that are not done.

    Raises:
        BadInput: a fold is missing and ``ensemble.min_folds`` does not allow it; says what to run.
    """
    lost = {task.fold for task in missing}
    kept = tuple(fold for fold in experiment.folds.selected if fold not in lost)
    enough = experiment.ensemble.min_folds
    if not missing or (enough is not None and len(kept) >= enough):
        return kept
    commands = "".join(f"\n  python -m jobs {task.stage}{task.options}" for task in sorted(missing, key=str))
    allowed = "" if enough is None else f" (ensemble.min_folds asks for {enough}, every model has {len(kept)})"
    raise BadInput(
        f"{len(missing)} of {len(wanted)} folds are missing{allowed}. Resume the run, or run{commands}\n"
        "With ensemble.min_folds the ensemble goes on without lost folds, and says so beside the score."
    )


def refuse_other_dataset(task: TaskId, made_from: str, dataset: str) -> None:
    """Predictions of different splits must not meet in one score.

    Raises:
        BadInput: these were made from another dataset.
    """
    if made_from != dataset:
        raise BadInput(
            f"{task} was made from dataset {made_from[:12]}, this run's is {dataset[:12]}: films "
            f"or split have changed since. Resume the run, or run python -m jobs {task.stage}{task.options}."
        )
