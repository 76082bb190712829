"""The trained weights of a run in the store."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Ensemble, Experiment
from jobs.contract.experiment.values import mistakes
from jobs.contract.names import Stage, check_run_name
from jobs.contract.plan import fold_tasks, training_stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Output, Reference
from jobs.contract.task import TaskId
from jobs.nets.prediction import selected_output
from jobs.runtime.fitted import fitted_temperature
from jobs.runtime.store import Missing, Store
from jobs.runtime.work import Work, fetch


@dataclass(frozen=True)
class RunWeights:
    """The nets of a finished run.

    Attributes:
        experiment: the run's experiment, with the settings that ``ensemble.search`` chose and the
            temperature that was fitted.
        folds: the folds whose nets predict.
        outputs: model → fold → weights, of the models that vote.
    """

    experiment: Experiment
    folds: tuple[int, ...]
    outputs: dict[str, dict[int, Output]]


def find_weights(store: Store, run: str) -> RunWeights:
    """Find the weights of all nets that vote in a run's ensemble.

    Raises:
        BadInput: the run does not exist, predicts with another run's weights, or has unfinished trainings that
            ``ensemble.min_folds`` does not allow.
    """
    check_run_name(run)
    try:
        experiment = Experiment.model_validate_json(store.get(layout.run_experiment(run)))
    except Missing as error:
        raise BadInput(f"Run {run} does not exist in {store.url}. cv.py runs lists all runs.") from error
    except ValidationError as error:
        raise BadInput(
            f"The experiment of run {run} in {store.url} is not valid for this code: {mistakes(error)}. Use the code "
            "that made the run, or run it again."
        ) from error
    if experiment.ensemble.search != "none":
        experiment = experiment.model_copy(update={"ensemble": _searched(store, run)})
    if experiment.ensemble.temperature == "fit":
        experiment = experiment.model_copy(update={"ensemble": _scaling(store, run, experiment.ensemble)})
    tasks = [task for task in fold_tasks(experiment) if task.model in experiment.voters]
    found = {task: _weights(store, run, experiment, task) for task in tasks}
    missing = [task for task, output in found.items() if output is None]
    _refuse_missing(store, run, experiment, missing)
    lost = {task.fold for task in missing}
    folds = tuple(fold for fold in experiment.folds.selected if fold not in lost)
    outputs: dict[str, dict[int, Output]] = {}
    for task, output in found.items():
        if output is not None and task.model is not None and task.fold in folds:
            outputs.setdefault(task.model, {})[task.fold] = output
    return RunWeights(experiment, folds, outputs)


def _scaling(store: Store, run: str, settings: Ensemble) -> Ensemble:
    """Return the ensemble's settings with the temperature that the run has fitted."""
    temperature = fitted_temperature(store, run)
    if temperature is None:
        raise BadInput(f"Run {run} has fitted no temperature yet: resume it.")
    return settings.model_copy(update={"temperature": temperature})


def _searched(store: Store, run: str) -> Ensemble:
    """Return the settings for a test set that the run's ensemble search chose."""
    try:
        digest = store.get_record(layout.reference(run, TaskId(Stage.ENSEMBLE)), Reference).works["search"]
    except KeyError as error:  # Missing among them
        raise BadInput(f"Run {run} has no ensemble search to use: resume it.") from error
    _, done = Work.finished(store, Stage.ENSEMBLE, digest)
    with tempfile.TemporaryDirectory() as folder:
        search = json.loads(fetch(store, done.outputs["search.json"], Path(folder)).read_bytes())
    return Ensemble.model_validate(search["settings"]["all"])


def _weights(store: Store, run: str, experiment: Experiment, task: TaskId) -> Output | None:
    """Return the weights that the model's ``inference.select`` names; None if the training is unfinished."""
    assert task.model is not None
    try:
        reference = store.get_record(layout.reference(run, task), Reference)
        _, done = Work.finished(store, training_stage(experiment, task.model), reference.works["weights"])
    except Missing:
        return None
    return selected_output(done.outputs, experiment.models[task.model].inference)


def _refuse_missing(store: Store, run: str, experiment: Experiment, missing: list[TaskId]) -> None:
    if not missing:
        return
    if any(layout.of_test_set(run, entry.key) for entry in store.list(f"{layout.task(run, TaskId(Stage.PREDICT))}/")):
        raise BadInput(f"Run {run} predicts with the weights of another run: name that one.")
    lost = {task.fold for task in missing}
    left = len(experiment.folds.selected) - len(lost)
    if left < (experiment.ensemble.min_folds or len(experiment.folds.selected)):
        raise BadInput(
            f"Run {run} has no weights of {', '.join(task.name for task in missing)} in {store.url}: resume that run "
            "first, or name a run that succeeded."
        )
