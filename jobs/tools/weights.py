"""``python -m jobs weights``: download pretrained weights into the store."""

import logging
import re
from typing import TYPE_CHECKING, Any

from jobs.contract.exits import BadInput, ServiceAway
from jobs.contract.experiment import YOLO_NAME
from jobs.contract.records import Output
from jobs.nets.pretrained import Normalisation, put
from jobs.runtime.store import Store

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


def add(name: str) -> Output:
    """Download weights through timm or ultralytics and put them into the environment's store.

    Raises:
        BadInput: neither library has weights of that name.
        ServiceAway: the internet cannot be reached.
    """
    store = Store.from_environment()
    try:
        tensors, normalisation = _from_ultralytics(name) if re.fullmatch(YOLO_NAME, name) else _from_timm(name)
    except OSError as error:  # the base class of what requests, httpx and huggingface_hub raise
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
    from jobs.nets.yolo.download import download

    return download(name), None
