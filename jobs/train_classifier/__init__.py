"""train-classifier: train a classifier without one fold, then predict that fold's films."""

from functools import partial
from typing import Final

from jobs.contract.digest import settings
from jobs.contract.experiment import inference_settings, training_settings
from jobs.contract.names import Stage
from jobs.contract.records import Done
from jobs.runtime.context import Context
from jobs.runtime.libraries import loading
from jobs.runtime.work import Work

# Raise by hand when the same inputs lead to other results.
WEIGHTS_VERSION: Final = 1
OOF_VERSION: Final = 1


def run(context: Context) -> dict[str, float]:
    """Train and predict, each only where its work is not done yet, and return the headline scores.

    PyTorch is imported only where there is something to do, so a finished task ends at once.

    Raises:
        Stopped: the task was asked to stop; the checkpoint to continue from is stored.
        BadInput: the data, the settings or the GPU's memory do not allow it.
    """
    model = context.experiment.classifiers[context.model]
    trained = context.once("weights", weights_inputs(context), partial(_train, context))
    oof_inputs = {"version": OOF_VERSION, "weights": trained.digest, "inference": inference_settings(model)}
    predicted = context.once("oof", oof_inputs, partial(_predict, context, trained))
    scores = {**predicted.scores, "best": trained.scores["best"], "last": trained.scores["last"]}
    context.refer({"weights": trained.digest, "oof": predicted.digest}, scores)
    return scores


def weights_inputs(context: Context) -> dict[str, object]:
    """Return everything that the weights depend on."""
    from jobs.nets.pretrained import find

    experiment = context.experiment
    model = experiment.classifiers[context.model]
    _, prepared = context.open_work(Stage.PREPARE, context.prepared.works["index"])
    return {
        "version": WEIGHTS_VERSION,
        "seed": experiment.seed,
        "training": training_settings(model),
        "data": settings(experiment.data, only={"siblings"}),
        "fold": context.fold,
        "folds": experiment.folds.count,
        "dataset": prepared.outputs["index.parquet"].sha256,
        "pretrained": find(context.store, model.weights).sha256 if model.weights else None,
    }


def _train(context: Context, work: Work) -> Done:
    with loading():
        from jobs.train_classifier.train import train

    return train(context, work)


def _predict(context: Context, trained: Done, work: Work) -> Done:
    with loading():
        from jobs.train_classifier.out_of_fold import predict_fold

    return predict_fold(context, trained, work)
