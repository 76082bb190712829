"""Shared by all stages that predict: loading the selected weights, and reporting progress batch by batch."""

from collections.abc import Callable, Mapping

import torch
from safetensors.torch import load_file

from jobs.contract.experiment import ClassifierInference, DetectorInference
from jobs.contract.stored.records import Done, Output
from jobs.runtime.context import Context
from jobs.runtime.work import fetch

Inference = ClassifierInference | DetectorInference


def selected_output(outputs: Mapping[str, Output], inference: Inference) -> Output:
    """Return the weights that ``inference.select`` names from the outputs of a training."""
    return outputs[f"{inference.select}.safetensors"]


def load_selected(context: Context, trained: Done, inference: Inference) -> dict[str, torch.Tensor]:
    """Load the weights that ``inference.select`` names from a finished training."""
    return load_file(fetch(context.store, selected_output(trained.outputs, inference), context.cache))


def start_predicting(context: Context, films: int, batch: int, variant: str = "") -> Callable[[int], None]:
    """Start the phase ``predicting`` and return the function to call after each batch.

    The function takes the batch's number of films and raises ``Stopped`` if the task was asked to stop.

    Args:
        context: the attempt that predicts.
        films: films to predict.
        batch: films per batch.
        variant: what differs from the plain prediction, e.g. ``without TTA``; part of the phase's name.
    """
    context.progress.phase(f"predicting {variant}".strip(), steps=-(-films // batch))

    def after_batch(count: int) -> None:
        context.progress.step(films=count)
        context.stop.check()

    return after_batch
