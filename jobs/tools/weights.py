"""``python -m jobs weights``: copy pretrained weights from the internet or a file to the store or a file."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jobs.contract.exits import BadInput, ServiceAway
from jobs.contract.experiment import YOLO_NAME
from jobs.contract.names import first_names
from jobs.contract.needs.pretrained import PretrainedRecord, PromotedRecord, stored_record
from jobs.contract.stored import layout
from jobs.nets.normalisation import Normalisation
from jobs.nets.weights.pretrained import put, read_file, write_file
from jobs.runtime.store import Store

if TYPE_CHECKING:
    import torch

# Keys under which training scripts nest the state dict in larger checkpoints.
WRAPPERS: Final = ("state_dict", "model_state_dict", "model", "module", "net")
SHOWN: Final = 3


def add(name: str, *, source: Path | None = None, to: Path | None = None) -> None:
    """Download weights, or read them from a file, and add them to the environment's store, or write them to a file.

    Args:
        name: the name in experiments: a timm model with its tag, or a YOLO model.
        source: a ``.safetensors`` file or a PyTorch state dict; if not given, weights are downloaded.
        to: a safetensors file to write instead, e.g. on a machine that cannot reach the store.

    Raises:
        BadInput: neither library knows the name, or the file does not hold weights of that architecture.
        ServiceAway: the internet cannot be reached.
    """
    store = None if to else Store.from_environment()
    tensors, normalisation = _from_file(name, source) if source else _download(name)
    if to:
        write_file(to, tensors, normalisation)
        print(
            f"{to}  {to.stat().st_size / 1e6:.0f} MB. Where the store is: python -m jobs weights add {name} --from {to}"
        )
        return
    assert store is not None
    output = put(store, name, tensors, normalisation)
    print(f"{name} is in the store: {store.url}/{output.key}, {output.size / 1e6:.0f} MB")


def list_stored(*, as_json: bool) -> None:
    """Print the weights in the environment's store."""
    store = Store.from_environment()
    prefix = layout.WEIGHTS
    names = [entry.key.removeprefix(prefix).removesuffix(".json") for entry in store.list(prefix)
             if entry.key.endswith(".json")]  # fmt: skip
    records = {name: stored_record(store.get_json(layout.weights(name))) for name in names}
    if as_json:
        print(json.dumps({name: record.model_dump(mode="json") for name, record in records.items()}, indent=1))
        return
    for name, record in records.items():
        print(f"{name}\t{record.architecture or ''}\t{_where_from(record)}")
    if not records:
        print(f"{store.url} has no pretrained weights. python -m jobs weights add NAME puts them there.")


def _where_from(record: PretrainedRecord | PromotedRecord) -> str:
    if isinstance(record, PretrainedRecord):
        return f"{record.size / 1e6:.0f} MB\t{record.sha256[:12]}"
    folds = "each fold" if record.fold is None else f"fold {record.fold}"
    return f"{record.model} of run {record.run}\t{folds}"


def fit(own: "dict[str, torch.Tensor]", given: "dict[str, torch.Tensor]", heads: tuple[str, ...], file: Path) -> (
    "dict[str, torch.Tensor]"
):  # fmt: skip
    """Rename a file's tensors to those of a net: matched by name, by name without a common prefix, or by order.

    Matching by order lets other ports of an architecture fit. It requires the same shapes and the same last parts of
    names (``weight``, ``running_mean``), except for batch norm's counters.

    Args:
        own: the net's state dict.
        given: the file's tensors.
        heads: prefixes of the net's classifier; its tensors are left out if their shapes differ.
        file: the file's path, for messages.

    Returns:
        All tensors of the net, except those of a classifier that differ in shape.

    Raises:
        BadInput: a tensor is missing, left over, or of another shape.
    """
    for candidate in (given, _without_prefix(given)):
        if candidate.keys() == own.keys():
            return _same_shapes(own, candidate, heads, file)
    counted = [name for name in own if not name.endswith("num_batches_tracked")]
    others = [name for name in given if not name.endswith("num_batches_tracked")]
    ends = [[name.rpartition(".")[2] for name in names] for names in (counted, others)]
    if ends[0] == ends[1]:
        ordered = {mine: given[its] for mine, its in zip(counted, others, strict=True)}
        counters = {name: own[name] for name in own if name not in ordered}
        return _same_shapes(own, {name: {**counters, **ordered}[name] for name in own}, heads, file)
    missing, unknown = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    raise BadInput(
        f"{file} does not fit: {len(given)} tensors where the architecture has {len(own)}; "
        f"missing {first_names(missing, SHOWN) or 'none'}; unknown {first_names(unknown, SHOWN) or 'none'}."
    )


def _same_shapes(
    own: "dict[str, torch.Tensor]", given: "dict[str, torch.Tensor]", heads: tuple[str, ...], file: Path
) -> "dict[str, torch.Tensor]":
    differing = [name for name in own if own[name].shape != given[name].shape]
    if wrong := [name for name in differing if not name.startswith(heads or ("\0",))]:
        shapes = [f"{name} {tuple(given[name].shape)} for {tuple(own[name].shape)}" for name in wrong[:SHOWN]]
        raise BadInput(f"{file} does not fit: {len(wrong)} tensors have other shapes: {', '.join(shapes)}.")
    return {name: given[name] for name in own if name not in differing}


def _without_prefix(tensors: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Remove the first part of the names if all share it, e.g. ``module.``."""
    firsts = {name.partition(".")[0] for name in tensors}
    return {name.partition(".")[2]: tensor for name, tensor in tensors.items()} if len(firsts) == 1 else tensors


def _from_file(name: str, file: Path) -> "tuple[dict[str, torch.Tensor], Normalisation | None]":
    if not file.is_file():
        raise BadInput(f"--from {file}: there is no such file.")
    given, normalisation = read_file(file) if file.suffix == ".safetensors" else (_state_dict(file), None)
    if re.fullmatch(YOLO_NAME, name):
        from jobs.nets.yolo.model import published

        return fit(published(name).state_dict(), given, (), file), None
    import timm

    from jobs.nets.classifier.backbone import own_normalisation

    _check_timm_name(name)
    net: Any = timm.create_model(name, pretrained=False)
    heads = net.pretrained_cfg.get("classifier") or ()
    prefixes = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
    return fit(net.state_dict(), given, prefixes, file), normalisation or own_normalisation(name)


def _state_dict(file: Path) -> "dict[str, torch.Tensor]":
    """Read a PyTorch state dict without executing code that its pickle may contain."""
    import pickle

    import torch

    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise BadInput(
            f"{file} is no plain state dict of tensors: {str(error).splitlines()[0]} Files that hold code are not "
            "loaded: save model.state_dict() where that code is installed, or convert it to .safetensors there."
        ) from error
    for wrapper in WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict) or not loaded or not all(isinstance(one, torch.Tensor) for one in loaded.values()):
        raise BadInput(f"{file} holds no state dict: a mapping of names to tensors is expected.")
    return loaded


def _download(name: str) -> "tuple[dict[str, torch.Tensor], Normalisation | None]":
    try:
        return _from_ultralytics(name) if re.fullmatch(YOLO_NAME, name) else _from_timm(name)
    except OSError as error:  # base class of the network errors of requests, httpx and huggingface_hub
        raise ServiceAway(
            f"The weights {name} could not be fetched ({type(error).__name__}: {error}). This command needs the "
            f"internet: run python -m jobs weights add {name} --to FILE elsewhere, then add {name} --from FILE here."
        ) from error


def _from_timm(name: str) -> "tuple[dict[str, torch.Tensor], Normalisation]":
    import timm

    from jobs.nets.classifier.backbone import own_normalisation

    _check_timm_name(name)
    architecture, _, tag = name.partition(".")
    known = [one.partition(".")[2] for one in timm.list_pretrained(f"{architecture}.*")]
    if not known or (tag and tag not in known):
        raise BadInput(
            f"timm has no pretrained weights {name!r}"
            + (f"; it has {', '.join(f'{architecture}.{one}' for one in known)}." if known else ".")
        )
    net: Any = timm.create_model(name, pretrained=True)
    return net.state_dict(), own_normalisation(name)


def _check_timm_name(name: str) -> None:
    import timm

    if not timm.is_model(name):
        raise BadInput(f"Neither timm nor ultralytics knows {name!r}; timm.list_pretrained() names what timm has.")


def _from_ultralytics(name: str) -> "tuple[dict[str, torch.Tensor], None]":
    from jobs.nets.yolo.download import download

    return download(name), None
