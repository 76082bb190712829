"""Which trained folds an ensemble stands on, and whether it may."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.contract import layout
from jobs.contract.done import Done
from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage
from jobs.runtime.context import Context

Place = tuple[Stage, str, int]  # a training task: stage, model, fold


@dataclass(frozen=True)
class Members:
    """The out-of-fold predictions that are pooled.

    Attributes:
        folds: the folds that every model has, so that each film is judged by the same ensemble.
        missing: the tasks whose folds had to be left out.
        done: the finished predictions of each task.
    """

    folds: tuple[int, ...]
    missing: tuple[Place, ...]
    done: Mapping[Place, Done]

    @property
    def digests(self) -> dict[str, Any]:
        """Digests of the predictions, as inputs of the ensemble's work: model → fold → digest."""
        digests: dict[str, dict[str, str]] = {}
        for (_, model, fold), done in sorted(self.done.items()):
            digests.setdefault(model, {})[str(fold)] = done.digest
        return digests


def places(experiment: Experiment) -> list[Place]:
    """Every training task of an experiment."""
    return [
        (stage, model, fold)
        for stage, models in (
            (Stage.TRAIN_CLASSIFIER, experiment.classifiers),
            (Stage.TRAIN_DETECTOR, experiment.detectors),
        )
        for model in models
        for fold in experiment.folds.selected
    ]


def choose_folds(experiment: Experiment, missing: list[Place]) -> tuple[int, ...]:
    """The folds to pool, given the tasks that are not done.

    Raises:
        BadInput: a fold is missing and ``ensemble.min_folds`` does not allow it; says what to run.
    """
    lost = {fold for _, _, fold in missing}
    kept = tuple(fold for fold in experiment.folds.selected if fold not in lost)
    enough = experiment.ensemble.min_folds
    if not missing or (enough is not None and len(kept) >= enough):
        return kept
    commands = "".join(
        f"\n  python -m jobs {stage} --model {model} --fold {fold}" for stage, model, fold in sorted(missing)
    )
    allowed = "" if enough is None else f" (ensemble.min_folds asks for {enough}, every model has {len(kept)})"
    raise BadInput(
        f"{len(missing)} of {len(places(experiment))} trained folds are missing{allowed}. Resume the run, or run"
        f"{commands}\n"
        "With ensemble.min_folds the ensemble goes on without lost folds, and says so beside the score."
    )


def gather(context: Context, dataset: str) -> Members:
    """The run's out-of-fold predictions.

    Args:
        context: the ensemble's context.
        dataset: the hash of the dataset they must be of.

    Raises:
        BadInput: folds are missing, or were made from another dataset.
    """
    wanted = places(context.experiment)
    missing = [place for place in wanted if context.store.size(layout.reference(context.run, *place)) is None]
    folds = choose_folds(context.experiment, missing)
    done: dict[Place, Done] = {}
    for place in wanted:
        stage, model, fold = place
        if fold in folds:
            digest = context.upstream(stage, model, fold).works["oof"]
            done[place] = context.open_work(stage, digest)[1]
    refuse_other_datasets({place: one.inputs["dataset"] for place, one in done.items()}, dataset)
    return Members(folds, tuple(missing), done)


def refuse_other_datasets(made_from: Mapping[Place, str], dataset: str) -> None:
    """Predictions of different splits must not meet in one score.

    Raises:
        BadInput: some were made from another dataset.
    """
    for (stage, model, fold), other in made_from.items():
        if other != dataset:
            raise BadInput(
                f"{stage} {model} fold {fold} was made from dataset {other[:12]}, this run's is {dataset[:12]}: films "
                "or split have changed since. Resume the run to train it again: "
                f"python -m jobs {stage} --model {model} --fold {fold}."
            )
