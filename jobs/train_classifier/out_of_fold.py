"""The second work of the stage: probabilities for the fold's films, which the weights have not seen."""

from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import load_file

from jobs.contract.experiment import Classifier
from jobs.contract.names import STUDY_CLASSES
from jobs.contract.records import Done
from jobs.nets.classifier import ClassifierNet, load_classifier
from jobs.nets.inference import predict
from jobs.runtime.context import Context
from jobs.runtime.work import Work, fetch
from jobs.scoring.metric import Floats
from jobs.train_classifier.scores import score
from jobs.train_classifier.task import Task


def predict_fold(context: Context, trained: Done, work: Work) -> Done:
    """Predict the fold's films with the selected weights, and with the net as it was before training.

    The work holds ``films.parquet`` and ``untrained-films.parquet`` (image, study, patient, fold, a column a class)
    and, from a head that knows studies, ``studies.parquet`` (their means over a study's films). Its scores are the
    model's figure, ``untrained``, and what the choices of inference are worth: ``<figure>_at_training_size`` where it
    predicts at a size of its own, ``<figure>_without_tta`` where it has TTA.

    Raises:
        Stopped: somebody asked to stop.
        BadInput: the GPU's memory does not suffice.
    """
    task = Task.of(context)
    model, figure = task.model, task.model.figure
    path = fetch(context.store, trained.outputs[selected_file(model)], context.cache)
    net = load_classifier(model, load_file(path)).to(context.device())
    found, scores = {}, {}
    found["films"], scores[figure] = _predict(task, net, model)
    untrained = task.untrained().to(context.device())
    found["untrained-films"], scores["untrained"] = _predict(task, untrained, model, "untrained")
    if model.inference_size != model.size:
        changed = _changed(model, size=model.size)
        scores[f"{figure}_at_training_size"] = _predict(task, net, changed, "at training size")[1]
    if model.inference.tta != "none":
        scores[f"{figure}_without_tta"] = _predict(task, net, _changed(model, tta="none"), "without TTA")[1]
    context.progress.say(", ".join(f"{name} {value:.4f}" for name, value in scores.items()))
    tables = {name: _film_table(task, probabilities) for name, probabilities in found.items()}
    if STUDY_CLASSES[0] in model.classes:
        tables["studies"] = study_table(tables["films"])
    outputs = {f"{name}.parquet": _write(table, context.scratch, name) for name, table in tables.items()}
    return work.finish(outputs, scores, context.cost())


def selected_file(model: Classifier) -> str:
    """Which of the training's weights predict."""
    return f"{model.inference.select}.safetensors"


def _predict(task: Task, net: ClassifierNet, model: Classifier, how: str = "") -> tuple[Floats, float]:
    """Probabilities (n, classes) of the fold's films, in the order of the index, and their score."""
    context, films = task.context, task.fold_films(model.inference_size)
    context.progress.phase(f"predicting {how}".strip(), steps=-(-len(films) // model.inference.batch))

    def tick(count: int) -> None:
        context.progress.step(films=count)
        context.stop.check()

    pack = task.dataset.pack(model.inference_size)
    probabilities = predict(net, model, pack, films.rows, context.device(), tick)
    return probabilities, score(model, probabilities, films)


def _film_table(task: Task, probabilities: Floats) -> pd.DataFrame:
    films = task.dataset.index.iloc[task.fold_films(task.model.inference_size).rows]
    named = films[["image", "study", "patient", "fold"]].reset_index(drop=True)
    return pd.concat([named, pd.DataFrame(probabilities, columns=list(task.model.classes))], axis=1)


def study_table(films: pd.DataFrame) -> pd.DataFrame:
    """Each study's probabilities: means over its films. Columns study, fold and the four classes."""
    means = films.groupby("study", sort=True)[["fold", *STUDY_CLASSES]].mean()
    return means.astype({"fold": films["fold"].dtype}).reset_index()


def _changed(model: Classifier, **settings: Any) -> Classifier:
    return model.model_copy(update={"inference": model.inference.model_copy(update=settings)})


def _write(table: pd.DataFrame, folder: Path, name: str) -> Path:
    path = folder / f"{name}.parquet"
    table.to_parquet(path, index=False, compression="zstd")
    return path
