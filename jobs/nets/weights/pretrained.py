"""Pretrained weights in the store, by name: safetensors with their SHA-256, never pickles.

``jobs weights add`` stores them (:mod:`jobs.tools.weights`); training only reads the store.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.contract.exits import BadInput, Damaged
from jobs.contract.needs.pretrained import PretrainedRecord, architecture_of, missing
from jobs.contract.stored import layout
from jobs.contract.stored.records import Output
from jobs.nets.normalisation import Normalisation
from jobs.runtime.store import Missing, Store, sha256_of
from jobs.runtime.work import fetch

if TYPE_CHECKING:  # a stage calls this module before it knows whether to train, so it must not import PyTorch
    import torch


@dataclass(frozen=True)
class Pretrained:
    """Pretrained weights on this machine.

    Attributes:
        name: the experiment's name for them.
        sha256: of the file.
        path: the safetensors file.
        normalisation: of the input that they expect; None if the file does not record it.
        whole: whether they are of a whole net that a run trained, with its heads.
    """

    name: str
    sha256: str
    path: Path
    normalisation: Normalisation | None
    whole: bool = False

    @property
    def tensors(self) -> "dict[str, torch.Tensor]":
        """The weights, under the tensor names of their library."""
        from safetensors.torch import load_file

        tensors: dict[str, torch.Tensor] = load_file(self.path)
        return tensors


def find(store: Store, name: str) -> Output:
    """Return the key and SHA-256 of weights, without downloading them.

    Raises:
        BadInput: the store has no weights of that name.
    """
    try:
        return store.get_record(layout.weights(name), Output)
    except (Missing, Damaged) as error:
        raise BadInput(missing(name, store.url)) from error


def pretrained(store: Store, name: str, cache: Path, trained: Output | None = None) -> Pretrained:
    """Fetch weights from the store into this machine's cache and verify them.

    Args:
        store: the store.
        name: the experiment's name for them.
        cache: this machine's cache.
        trained: their file, where a run trained them.

    Raises:
        BadInput: the store has no weights of that name, or their file is malformed.
    """
    output = trained or find(store, name)
    path = fetch(store, output, cache)
    return Pretrained(name, output.sha256, path, _normalisation(path), whole=trained is not None)


def put(store: Store, name: str, tensors: "dict[str, torch.Tensor]", normalisation: Normalisation | None) -> Output:
    """Store weights under a name; trainings that name it from now on start from these weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        write_file(path, tensors, normalisation)
        output = store.upload(path, layout.weights_file(name, sha256_of(path)))
    record = PretrainedRecord(**output.model_dump(), architecture=architecture_of(name))
    store.put_json(layout.weights(name), record.model_dump())
    return output


def write_file(path: Path, tensors: "dict[str, torch.Tensor]", normalisation: Normalisation | None) -> None:
    """Write weights to a safetensors file, with the normalisation that they expect in its metadata."""
    from safetensors.torch import save_file

    metadata = {}
    if normalisation:
        metadata["normalisation"] = json.dumps({"mean": normalisation.mean, "std": normalisation.std})
    save_file({key: value.contiguous() for key, value in tensors.items()}, path, metadata=metadata)


def read_file(path: Path) -> "tuple[dict[str, torch.Tensor], Normalisation | None]":
    """Read the tensors of a safetensors file, and the normalisation that they expect if the file records it.

    Raises:
        BadInput: the file is not safetensors, is truncated, or its normalisation is malformed.
    """
    from safetensors.torch import load_file

    normalisation = _normalisation(path)
    tensors: dict[str, torch.Tensor] = load_file(path)
    return tensors, normalisation


def _normalisation(path: Path) -> Normalisation | None:
    """Read the normalisation from a file's header; safetensors checks the header's offsets against the file's size."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        if "normalisation" not in metadata:
            return None
        figures = json.loads(metadata["normalisation"])
        mean, std = (tuple(map(float, figures[name])) for name in ("mean", "std"))
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise BadInput(
            f"{path} is no whole safetensors file of weights: {type(error).__name__}: {error}. Add it to the store "
            "again with python -m jobs weights add."
        ) from error
    return Normalisation(mean, std)
