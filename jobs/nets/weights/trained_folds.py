"""The weights of a run's models and folds, found by name: with the films that they were trained on."""

from jobs.contract.exits import BadInput, Damaged
from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage, run_model
from jobs.contract.needs.pretrained import PromotedRecord, experiment_of, stored_record
from jobs.contract.plan import training_stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Reference, TrainedFold
from jobs.contract.task import TaskId
from jobs.runtime.store import Missing, Store
from jobs.runtime.work import Work


def find_start(store: Store, weights: str | None, fold: int) -> TrainedFold | None:
    """Return the run's weights that a fold starts from; None where ``weights`` names none of a run.

    Raises:
        BadInput: the run, its model or the fold does not exist, or is not finished.
    """
    if weights is None:
        return None
    if named := run_model(weights):
        experiment = experiment_of(named.run, f"weights: {weights}", store.find_json, store.url)
        return trained_fold(store, experiment, named.run, named.model, fold)
    stored = store.find_json(layout.weights(weights))
    record = stored_record(stored) if stored else None
    return record.start_of(fold, weights) if isinstance(record, PromotedRecord) else None


def trained_fold(store: Store, experiment: Experiment, run: str, model: str, fold: int) -> TrainedFold:
    """Return the weights of a model and fold of a run, with the index of the films that they were trained on.

    Raises:
        BadInput: the training is not finished, or its films were prepared again since.
    """
    if model not in experiment.models:
        raise BadInput(f"Run {run} has no model {model}; it has {', '.join(experiment.models)}: name one of them.")
    stage = training_stage(experiment, model)
    try:
        trained = _works(store, run, TaskId(stage, model, fold))["weights"]
        index = _works(store, run, TaskId(Stage.PREPARE))["index"]
        dataset = Work.finished(store, Stage.PREPARE, index)[1].outputs["index.parquet"].sha256
        made_from = Work.finished(store, stage, trained)[1].inputs["dataset"]
    except (Missing, Damaged) as error:
        raise BadInput(
            f"Run {run} has no weights of {model} fold {fold} in {store.url}: resume that run first (cv.py resume "
            f"{run}), or name one that has them."
        ) from error
    if made_from != dataset:
        raise BadInput(
            f"Run {run} has prepared other films since it trained {model} fold {fold}: resume it first (cv.py resume "
            f"{run})."
        )
    return TrainedFold(stage=stage, weights=trained, index=index, select=experiment.models[model].inference.select)


def _works(store: Store, run: str, task: TaskId) -> dict[str, str]:
    return store.get_record(layout.reference(run, task), Reference).works
