"""predict: predict a test set, which needs no labels, with the weights of one model and fold of an earlier run."""

from typing import Final

from jobs.contract import environment, layout
from jobs.contract.exits import BadInput
from jobs.contract.experiment import inference_settings
from jobs.contract.names import Stage
from jobs.contract.plan import training_stage
from jobs.contract.records import Done
from jobs.contract.task import TaskId
from jobs.runtime.context import Context
from jobs.runtime.libraries import loading
from jobs.runtime.store import Missing
from jobs.runtime.work import Work

# Raise by hand when the same weights and films lead to other predictions.
VERSION: Final = 1


def run(context: Context) -> dict[str, float]:
    """Predict the test set and return the measured seconds per film.

    Outputs: ``films.parquet`` of a classifier or ``boxes.parquet`` of a detector, as in out-of-fold work.

    Raises:
        Stopped: the task was asked to stop.
        BadInput: the earlier run has no such weights.
    """
    model = context.experiment.models[context.model]
    trained = _weights(context, training_stage(context.experiment, context.model))
    _, prepared = context.open_work(Stage.PREPARE, context.prepared.works["index"])
    inputs = {
        "version": VERSION,
        "weights": trained.digest,
        "inference": inference_settings(model),
        "dataset": prepared.outputs["index.parquet"].sha256,
    }

    def make(work: Work) -> Done:
        with loading():
            if model.answers_boxes:
                from jobs.predict.detector import predict_films
            else:
                from jobs.predict.classifier import predict_films
        table, scores = predict_films(context, trained)
        path = context.scratch / ("boxes.parquet" if model.answers_boxes else "films.parquet")
        table.to_parquet(path, index=False, compression="zstd")
        return work.finish({path.name: path}, scores, context.cost())

    done = context.once("predictions", inputs, make)
    context.refer({"predictions": done.digest}, done.scores)
    return done.scores


def _weights(context: Context, stage: Stage) -> Done:
    """Return the finished training of the earlier run."""
    earlier = context.settings.from_run
    if not earlier:
        raise BadInput(f"predict needs the weights of a run: set {environment.FROM_RUN} to its name.")
    task = TaskId(stage, context.model, context.fold)
    try:
        reference = context.reference(earlier, task)
    except Missing as error:
        raise BadInput(
            f"Run {earlier} has no weights of {context.model} fold {context.fold} "
            f"({context.store.url}/{layout.reference(earlier, task)} does not exist): resume that run first, or name "
            "a run that succeeded."
        ) from error
    return context.open_work(stage, reference.works["weights"])[1]
