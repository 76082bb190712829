"""The stage's second piece of work: out-of-fold probabilities of the held-out fold's films."""

import time
from pathlib import Path
from typing import Any

import pandas as pd

from jobs.contract.experiment import Classifier
from jobs.contract.names import STUDY_CLASSES
from jobs.contract.stored.records import Done
from jobs.nets.classifier.inference import predict
from jobs.nets.classifier.net import ClassifierNet, load_classifier
from jobs.nets.prediction import load_selected, start_predicting
from jobs.nets.training import Training
from jobs.runtime.context import Context
from jobs.runtime.work import Work
from jobs.scoring.metric import Floats
from jobs.train_classifier.fold import ClassifierFold
from jobs.train_classifier.scores import score


def predict_fold(context: Context, training: Training, trained: Done, work: Work) -> Done:
    """Predict the held-out fold with the selected weights, and with the untrained net for comparison.

    Outputs: ``films.parquet`` and ``untrained-films.parquet`` (image, study, patient, fold and one column per class);
    where the head has the study classes, also ``studies.parquet`` (means over each study's films).

    Scores: the model's figure; ``untrained``, the same of the untrained net; ``<figure>_at_training_size`` where
    ``inference.size`` differs from the training size; ``<figure>_without_tta`` where TTA is on.

    Raises:
        Stopped: the task was asked to stop.
        BadInput: the GPU's memory does not suffice.
    """
    fold = ClassifierFold.of(context, training)
    model, figure = fold.model, fold.model.figure
    net = load_classifier(model, load_selected(context, trained, model.inference)).to(context.device())
    predictions, scores = {}, {}
    begun = time.monotonic()
    predictions["films"], scores[figure] = _predict(fold, net, model)
    seconds = (time.monotonic() - begun) / len(predictions["films"])
    untrained = fold.untrained().to(context.device())
    predictions["untrained-films"], scores["untrained"] = _predict(fold, untrained, model, "untrained")
    if model.inference_size != model.size:
        changed = _with_inference(model, size=model.size)
        scores[f"{figure}_at_training_size"] = _predict(fold, net, changed, "at training size")[1]
    if model.inference.tta != "none":
        changed = _with_inference(model, tta="none")
        scores[f"{figure}_without_tta"] = _predict(fold, net, changed, "without TTA")[1]
    context.progress.say(", ".join(f"{name} {value:.4f}" for name, value in scores.items()))
    tables = {name: _film_table(fold, probabilities) for name, probabilities in predictions.items()}
    if STUDY_CLASSES[0] in model.classes:
        tables["studies"] = study_table(tables["films"])
    outputs = {f"{name}.parquet": _write(table, context.scratch, name) for name, table in tables.items()}
    return work.finish(outputs, scores, context.cost(seconds_a_film=seconds))


def _predict(fold: ClassifierFold, net: ClassifierNet, model: Classifier, variant: str = "") -> tuple[Floats, float]:
    """Return the probabilities (n, classes) of the fold's films, in the index's order, and their score."""
    context, films = fold.context, fold.held_out_films(model.inference_size)
    after_batch = start_predicting(context, len(films), model.inference.batch, variant)
    pack = fold.dataset.pack(model.inference_size)
    probabilities = predict(net, model, pack, films.rows, context.device(), after_batch)
    return probabilities, score(model, probabilities, films)


def _film_table(fold: ClassifierFold, probabilities: Floats) -> pd.DataFrame:
    films = fold.dataset.index.iloc[fold.held_out_films(fold.model.inference_size).rows]
    named = films[["image", "study", "patient", "fold"]].reset_index(drop=True)
    return pd.concat([named, pd.DataFrame(probabilities, columns=list(fold.model.classes))], axis=1)


def study_table(films: pd.DataFrame) -> pd.DataFrame:
    """Return each study's probabilities, the means over its films: columns study, fold and the four classes."""
    means = films.groupby("study", sort=True)[["fold", *STUDY_CLASSES]].mean()
    return means.astype({"fold": films["fold"].dtype}).reset_index()


def _with_inference(model: Classifier, **settings: Any) -> Classifier:
    return model.model_copy(update={"inference": model.inference.model_copy(update=settings)})


def _write(table: pd.DataFrame, folder: Path, name: str) -> Path:
    path = folder / f"{name}.parquet"
    table.to_parquet(path, index=False, compression="zstd")
    return path
