# SPDX-License-Identifier: AGPL-3.0-only
"""train-detector: train a YOLO without one fold, then predict that fold's films.

Where the experiment has ``evolve``, a search for settings comes first, and its best candidate takes the model's place.
"""

from functools import partial

from jobs.contract.stored.records import Done
from jobs.nets.curves import track_curve
from jobs.nets.training import Training
from jobs.runtime.context import Context
from jobs.runtime.libraries import loading
from jobs.runtime.work import Work
from jobs.train_detector.fold import DetectorFold


def run(context: Context) -> dict[str, float]:
    """Search, train and predict, each only where its work is not done yet, and return the headline scores.

    PyTorch is imported only where there is something to do, so a finished task ends at once.

    Raises:
        Stopped: the task was asked to stop; at most the current epoch is lost.
        BadInput: the data, the settings or the GPU's memory do not allow it.
    """
    fold = DetectorFold.of(context, partial(_train_again, context))
    works: dict[str, str] = {}
    start: dict[str, float] = {}
    if fold.detector.evolve:
        with loading():
            from jobs.train_detector.search import evolve

        fold, search = evolve(fold)
        works, start = {"search": search.digest}, {"start": search.scores["start"]}
    trained = context.once("weights", fold.weights_inputs(), partial(_train, fold))
    track_curve(context, trained)
    predicted = context.once("oof", fold.boxes_inputs(trained.digest), partial(_predict, fold, trained))
    scores = {"opacity": predicted.scores["opacity"], "best": trained.scores["best"], "last": trained.scores["last"]}
    context.refer({**works, "weights": trained.digest, "oof": predicted.digest}, scores | start)
    return scores | start


def _train_again(context: Context, training: Training) -> Done:
    """Train a start of this task once more, without films that the fold validates on."""
    fold = DetectorFold(context, training)
    return context.once("weights", fold.weights_inputs(), partial(_train, fold))


def _train(fold: DetectorFold, work: Work) -> Done:
    with loading():
        from jobs.train_detector.train import train

    return train(fold, work)


def _predict(fold: DetectorFold, trained: Done, work: Work) -> Done:
    with loading():
        from jobs.train_detector.out_of_fold import predict_fold

    return predict_fold(fold, trained, work)
