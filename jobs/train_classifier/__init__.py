"""Train-classifier: a classifier of one fold, then its probabilities for the films it was not trained on."""

from typing import Final

from jobs.contract.experiment import training_slice
from jobs.contract.names import Stage
from jobs.runtime.context import Context
from jobs.runtime.libraries import loading

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
    assert context.model is not None
    model = context.experiment.classifiers[context.model]
    weights = context.work("weights", weights_inputs(context))
    if (trained := weights.done()) is None:
        with loading():
            from jobs.train_classifier.weights import train

        trained = train(context, weights)
    oof = context.work(
        "oof",
        {
            "version": OOF_VERSION,
            "weights": trained.digest,
            "inference": {**model.inference.model_dump(mode="json"), "size": model.inference_size},
        },
    )
    if (predicted := oof.done()) is None:
        with loading():
            from jobs.train_classifier.oof import predict_fold

        predicted = predict_fold(context, trained, oof)
    scores = {**predicted.scores, "best": trained.scores["best"], "last": trained.scores["last"]}
    context.refer({"weights": trained.digest, "oof": predicted.digest}, scores)
    return scores


def weights_inputs(context: Context) -> dict[str, object]:
    """All that the weights follow from."""
    from jobs.nets.weights import find

    assert context.model is not None
    experiment = context.experiment
    model = experiment.classifiers[context.model]
    _, prepared = context.open_work(Stage.PREPARE, context.upstream(Stage.PREPARE).works["index"])
    return {
        "version": WEIGHTS_VERSION,
        "seed": experiment.seed,
        "training": training_slice(model),
        "siblings": experiment.data.siblings,
        "fold": context.fold,
        "folds": experiment.folds.count,
        "dataset": prepared.outputs["index.parquet"].sha256,
        "pretrained": find(context.store, model.weights).sha256 if model.weights else None,
    }
