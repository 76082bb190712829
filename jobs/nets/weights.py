"""Pretrained weights in the store, by name: safetensors with their SHA-256, never anything that must be unpickled.

``add`` runs where there is an internet; a training only ever reads the store.
"""

import json
import logging
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jobs.contract import layout
from jobs.contract.done import Output
from jobs.contract.exits import BadInput, ServiceAway
from jobs.runtime.store import Missing, Store, sha256_of
from jobs.runtime.work import fetch

if TYPE_CHECKING:  # what a stage asks before it knows whether there is anything to train must come without PyTorch
    import torch

log = logging.getLogger(__name__)

YOLO: Final = re.compile(r"yolo(v5[nsmlx]u|v8[nsmlx]|11[nsmlx])")


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


def add(name: str) -> Output:
    """Fetch weights from the internet, through timm or ultralytics, and put them into the environment's store.

    Raises:
        BadInput: neither library has weights of that name.
        ServiceAway: the internet cannot be reached.
    """
    store = Store.from_environment()
    try:
        tensors, normalisation = _from_ultralytics(name) if YOLO.fullmatch(name) else _from_timm(name)
    except OSError as error:  # what requests, httpx and huggingface_hub raise for all that goes wrong on the way
        raise ServiceAway(
            f"The weights {name} could not be fetched ({type(error).__name__}: {error}). This command needs the "
            "internet; run it elsewhere against the same store."
        ) from error
    output = put(store, name, tensors, normalisation)
    log.info("%s is in the store: %s/%s, %.0f MB", name, store.url, output.key, output.size / 1e6)
    return output


def _from_timm(name: str) -> "tuple[dict[str, torch.Tensor], Normalisation]":
    import timm

    from jobs.nets.backbone import own_normalisation

    if not timm.is_model(name):
        raise BadInput(f"Neither timm nor ultralytics knows {name!r}; timm.list_pretrained() names what timm has.")
    architecture, _, tag = name.partition(".")
    known = [one.partition(".")[2] for one in timm.list_pretrained(f"{architecture}.*")]
    if not known or (tag and tag not in known):
        raise BadInput(
            f"timm has no pretrained weights {name!r}"
            + (f"; it has {', '.join(f'{architecture}.{one}' for one in known)}." if known else ".")
        )
    net: Any = timm.create_model(name, pretrained=True)
    return net.state_dict(), own_normalisation(name)


def _from_ultralytics(name: str) -> "tuple[dict[str, torch.Tensor], None]":
    from jobs.nets.yolo.pretrained import download

    return download(name), None
