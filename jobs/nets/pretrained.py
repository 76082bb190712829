"""Pretrained weights in the store, by name: safetensors with their SHA-256, never anything that must be unpickled.

``jobs weights add`` puts them there (:mod:`jobs.tools.weights`); a training only ever reads the store.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.contract import layout
from jobs.contract.exits import BadInput
from jobs.contract.records import Output
from jobs.runtime.store import Missing, Store, sha256_of
from jobs.runtime.work import fetch

if TYPE_CHECKING:  # what a stage asks before it knows whether there is anything to train must come without PyTorch
    import torch


@dataclass(frozen=True)
class Normalisation:
    """What a backbone expects of its input, a figure a colour channel, for values from 0 to 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Pretrained:
    """Pretrained weights on this machine.

    Attributes:
        name: as the experiment writes it.
        sha256: of the file.
        path: the safetensors file.
        normalisation: what they expect of their input; None where they do not say.
    """

    name: str
    sha256: str
    path: Path
    normalisation: Normalisation | None

    @property
    def tensors(self) -> "dict[str, torch.Tensor]":
        """The weights by the names their own library gives them."""
        from safetensors.torch import load_file

        tensors: dict[str, torch.Tensor] = load_file(self.path)
        return tensors


def find(store: Store, name: str) -> Output:
    """Where weights lie and their SHA-256, without fetching them.

    Raises:
        BadInput: the store has none of that name.
    """
    try:
        return Output.model_validate(store.get_json(layout.weights(name)))
    except Missing as error:
        raise BadInput(
            f"The store has no pretrained weights {name!r} ({store.url}/{layout.weights(name)}): on a machine with "
            f"internet run python -m jobs weights add {name}, or set weights to null to start from random ones."
        ) from error


def pretrained(store: Store, name: str, cache: Path) -> Pretrained:
    """Weights from the store, verified, in the cache of this machine.

    Raises:
        BadInput: the store has none of that name.
    """
    from safetensors import safe_open

    output = find(store, name)
    path = fetch(store, output, cache)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    figures = json.loads(metadata["normalisation"]) if "normalisation" in metadata else None
    normalisation = Normalisation(tuple(figures["mean"]), tuple(figures["std"])) if figures else None
    return Pretrained(name, output.sha256, path, normalisation)


def put(store: Store, name: str, tensors: "dict[str, torch.Tensor]", normalisation: Normalisation | None) -> Output:
    """Store weights under a name. Trainings that name it from now on start from these."""
    from safetensors.torch import save_file

    metadata = {}
    if normalisation:
        metadata["normalisation"] = json.dumps({"mean": normalisation.mean, "std": normalisation.std})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_file({key: value.contiguous() for key, value in tensors.items()}, path, metadata=metadata)
        output = store.upload(path, layout.weights_file(name, sha256_of(path)))
    store.put_json(layout.weights(name), output.model_dump())
    return output
