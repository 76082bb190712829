"""Pretrained weights as experiments name them, and whether a store has them."""

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from jobs.contract import layout
from jobs.contract.exits import BadInput, Damaged
from jobs.contract.experiment import Classifier, Experiment, Model
from jobs.contract.records import Output


class PretrainedRecord(Output):
    """The pointer that is stored under the weights' name.

    Attributes:
        architecture: the timm or YOLO model that they are of, without a tag; None in a record of release 0.1.
    """

    architecture: str | None = None


def architecture_of(name: str) -> str:
    """The model that a name of weights is of: ``tf_efficientnet_b3`` of ``tf_efficientnet_b3.ns_jft_in1k``."""
    return name.partition(".")[0]


def check_pretrained(experiment: Experiment, read: Callable[[str], Any | None], where: str) -> None:
    """Refuse an experiment whose pretrained weights are missing or of another architecture.

    It reads a small record per name, so it costs nothing before the first task; shapes are compared when a net loads
    the weights.

    Args:
        experiment: its models may each name weights.
        read: returns a JSON object of the store by its key, None where there is none.
        where: address of the store, for messages.

    Raises:
        BadInput: naming the weights and the commands that add them. A damaged record counts as missing.
    """
    for path, model in _paths(experiment):
        if model.weights is None:
            continue
        try:
            record = PretrainedRecord.model_validate(read(layout.weights(model.weights)))
        except (Damaged, ValidationError) as error:  # None is no record either
            raise BadInput(missing(model.weights, where, path)) from error
        backbone = model.backbone if isinstance(model, Classifier) else model.model
        known = record.architecture
        if known is not None and known != architecture_of(backbone):
            raise BadInput(
                f"{path}.weights: {model.weights} are weights of {known}, and the model is {backbone}: name weights of "
                "the same architecture (python -m jobs weights list), or null to start from random ones."
            )


def missing(name: str, where: str, path: str = "weights") -> str:
    """The sentence for weights that a store does not have."""
    return (
        f"{path}: the store has no pretrained weights {name} ({where}/{layout.weights(name)}). Add them with "
        f"python -m jobs weights add {name} where there is internet access; or there with --to FILE, and here with "
        "--from FILE. null starts from random weights."
    )


def _paths(experiment: Experiment) -> list[tuple[str, Model]]:
    classifiers = [(f"classifiers.{name}", model) for name, model in experiment.classifiers.items()]
    return [*classifiers, *((f"detectors.{name}", model) for name, model in experiment.detectors.items())]
