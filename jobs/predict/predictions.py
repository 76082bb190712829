"""The predictions of one net on a dataset: work that is shared by all runs that need them."""

from typing import Final

from jobs.contract.experiment import Detector, Model, inference_settings
from jobs.contract.names import Stage
from jobs.contract.stored.records import Done
from jobs.films.prepared import fetch_other_dataset
from jobs.runtime.context import Context
from jobs.runtime.libraries import loading
from jobs.runtime.work import Work

# Raise by hand when the same weights and films lead to other predictions.
VERSION: Final = 1


def predictions(context: Context, model: Model, trained: Done, index: str) -> Done:
    """Return the finished predictions, made where they are not stored yet.

    Args:
        context: the attempt.
        model: the model, with its inference settings.
        trained: its training.
        index: digest of the index of the films.

    Raises:
        Stopped: the task was asked to stop.
    """
    _, prepared = context.open_work(Stage.PREPARE, index)
    inputs = {
        "version": VERSION,
        "weights": trained.digest,
        "inference": inference_settings(model),
        "dataset": prepared.outputs["index.parquet"].sha256,
    }

    def make(work: Work) -> Done:
        dataset = fetch_other_dataset(context, index, (model.inference_size,))
        with loading():
            if isinstance(model, Detector):
                from jobs.predict.detector import predict_films as predict_boxes

                table, scores = predict_boxes(context, model, trained, dataset)
            else:
                from jobs.predict.classifier import predict_films

                table, scores = predict_films(context, model, trained, dataset)
        path = context.scratch / ("boxes.parquet" if model.answers_boxes else "films.parquet")
        table.to_parquet(path, index=False, compression="zstd")
        return work.finish({path.name: path}, scores, context.cost())

    return context.once("predictions", inputs, make)
