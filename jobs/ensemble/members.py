"""The predictions that an ensemble combines, and the checks on missing folds and other datasets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment
from jobs.contract.plan import fold_tasks
from jobs.contract.stored import layout
from jobs.contract.stored.records import Done
from jobs.contract.task import TaskId
from jobs.runtime.context import Context


@dataclass(frozen=True)
class Members:
    """The predictions of an ensemble.

    Attributes:
        folds: the folds that every model has, so that each film is predicted by the same models.
        missing: the tasks that are not done; their folds are left out.
        done: the finished predictions of each model and fold.
    """

    folds: tuple[int, ...]
    missing: tuple[TaskId, ...]
    done: Mapping[tuple[str, int], Done]

    @property
    def digests(self) -> dict[str, Any]:
        """Digests of the predictions, for the inputs of the ensemble's work: model → fold → digest."""
        digests: dict[str, dict[str, str]] = {}
        for (model, fold), done in sorted(self.done.items()):
            digests.setdefault(model, {})[str(fold)] = done.digest
        return digests

    @property
    def seconds_a_film(self) -> dict[str, float] | None:
        """Seconds of inference that each model's nets, one per fold, need for a film of a test set.

        None if a prediction was made by a version that did not measure it.
        """
        sums: dict[str, float] = {}
        for (model, _), done in sorted(self.done.items()):
            if not done.cost.seconds_a_film:
                return None
            sums[model] = sums.get(model, 0.0) + done.cost.seconds_a_film
        return sums


def gather(context: Context, dataset: str, test: bool) -> Members:
    """Collect the run's predictions: out of fold, or of a test set.

    Args:
        context: the ensemble's context.
        dataset: the hash of the dataset that they must be made from.
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
        # Predictions are out of fold only on the split that their weights were trained with.
        origin = predictions if test else context.open_work(task.stage, works["weights"])[1]
        refuse_other_dataset(task, origin.inputs["dataset"], dataset)
        done[task.model, task.fold] = predictions
    return Members(folds, tuple(missing), done)


def choose_folds(experiment: Experiment, wanted: Sequence[TaskId], missing: Sequence[TaskId]) -> tuple[int, ...]:
    """Return the folds to combine, given the tasks that are not done.

    Raises:
        BadInput: a fold is missing and ``ensemble.min_folds`` does not allow it; the message names the commands to run.
    """
    lost = {task.fold for task in missing}
    kept = tuple(fold for fold in experiment.folds.selected if fold not in lost)
    enough = experiment.ensemble.min_folds
    if not missing or (enough is not None and len(kept) >= enough):
        return kept
    commands = "".join(f"\n  python -m jobs {task.stage}{task.options}" for task in sorted(missing, key=str))
    allowed = "" if enough is None else f" (ensemble.min_folds is {enough}, only {len(kept)} complete)"
    raise BadInput(
        f"{len(missing)} of {len(wanted)} folds are missing{allowed}. Resume the run, or run{commands}\n"
        "With ensemble.min_folds the ensemble goes on without them, and the score is marked as degraded."
    )


def refuse_other_dataset(task: TaskId, made_from: str, dataset: str) -> None:
    """Check that predictions are of this run's dataset: a score must not mix different splits.

    Raises:
        BadInput: they were made from another dataset.
    """
    if made_from != dataset:
        raise BadInput(
            f"{task} was made from dataset {made_from[:12]}, but this run's is {dataset[:12]}: the films "
            f"or the split have changed since. Resume the run, or run python -m jobs {task.stage}{task.options}."
        )
