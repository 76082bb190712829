"""predict: predict a test set, which needs no labels, with the weights of one model and fold of an earlier run.

In a run that trains, it labels films beside the folds with a teacher's nets.
"""

from jobs.contract import environment
from jobs.contract.exits import BadInput
from jobs.contract.names import Stage
from jobs.contract.plan import label_tasks, training_stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Done
from jobs.contract.task import TaskId
from jobs.predict.labels import label
from jobs.predict.predictions import predictions
from jobs.runtime.context import Context
from jobs.runtime.store import Missing


def run(context: Context) -> dict[str, float]:
    """Predict the test set and return the measured seconds per film; or label films beside the folds.

    Outputs: ``films.parquet`` of a classifier or ``boxes.parquet`` of a detector, as in out-of-fold work.

    Raises:
        Stopped: the task was asked to stop.
        BadInput: the earlier run has no such weights.
    """
    if context.task in [task.id for task in label_tasks(context.experiment)]:
        return label(context)
    model = context.experiment.models[context.model]
    trained = _weights(context, training_stage(context.experiment, context.model))
    done = predictions(context, model, trained, context.prepared.works["index"])
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
