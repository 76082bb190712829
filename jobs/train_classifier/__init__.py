"""train-classifier: train a classifier without one fold, then predict that fold's films."""

from functools import partial
from typing import Final

from jobs.contract.experiment import inference_settings
from jobs.contract.stored.records import Done
from jobs.nets.curves import track_curve
from jobs.nets.starts import start_of
from jobs.nets.training import Training
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
    training = Training.of(context, start_of(context, partial(_weights, context)))
    trained = _weights(context, training)
    track_curve(context, trained)
    oof_inputs = {"version": OOF_VERSION, "weights": trained.digest, "inference": inference_settings(model)}
    predicted = context.once("oof", oof_inputs, partial(_predict, context, training, trained))
    scores = {**predicted.scores, "best": trained.scores["best"], "last": trained.scores["last"]}
    context.refer({"weights": trained.digest, "oof": predicted.digest}, scores)
    return scores


def _weights(context: Context, training: Training) -> Done:
    return context.once("weights", training.inputs(WEIGHTS_VERSION), partial(_train, context, training))


def _train(context: Context, training: Training, work: Work) -> Done:
    with loading():
        from jobs.train_classifier.train import train

    return train(context, training, work)


def _predict(context: Context, training: Training, trained: Done, work: Work) -> Done:
    with loading():
        from jobs.train_classifier.out_of_fold import predict_fold

    return predict_fold(context, training, trained, work)
