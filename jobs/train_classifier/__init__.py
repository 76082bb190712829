"""Train-classifier: a classifier of one fold, then its probabilities for the films it was not trained on."""

from functools import partial
from typing import Final

from jobs.contract.digest import settings
from jobs.contract.experiment import inference_settings, training_settings
from jobs.contract.names import Stage
from jobs.contract.records import Done
from jobs.runtime.context import Context
from jobs.runtime.libraries import loading
from jobs.runtime.work import Work

# Raised by hand when the same inputs come to mean other results.
WEIGHTS_VERSION: Final = 1
OOF_VERSION: Final = 1


def run(context: Context) -> dict[str, float]:
    """Train where the weights are not done, predict where the probabilities are not; returns the headline scores.

    What is done needs no PyTorch, and a task whose work is done does not wait for it.

    Raises:
        Stopped: somebody asked to stop; everything needed to go on is stored.
        BadInput: the data, the settings or the GPU's memory do not allow it; the message says which.
    """
    model = context.experiment.classifiers[context.model]
    trained = context.once("weights", weights_inputs(context), partial(_train, context))
    oof_inputs = {"version": OOF_VERSION, "weights": trained.digest, "inference": inference_settings(model)}
    predicted = context.once("oof", oof_inputs, partial(_predict, context, trained))
    scores = {**predicted.scores, "best": trained.scores["best"], "last": trained.scores["last"]}
    context.refer({"weights": trained.digest, "oof": predicted.digest}, scores)
    return scores


def weights_inputs(context: Context) -> dict[str, object]:
    """All that the weights follow from."""
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
