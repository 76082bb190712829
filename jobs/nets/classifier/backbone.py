"""timm backbones, by any name that timm knows."""

from difflib import get_close_matches
from typing import Any

import timm
import torch
from timm.data.config import resolve_data_config

from jobs.contract.exits import BadInput
from jobs.nets.normalisation import Normalisation


def create_backbone(name: str, drop_path: float, size: int) -> Any:
    """Create a timm model without its classifier, with random weights; a transformer gets positions for ``size``.

    Raises:
        BadInput: timm does not know the name, or the model has no paths to drop.
    """
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models())
        raise BadInput(f"timm knows no backbone {name!r}" + (f": {' or '.join(near)}?" if near else "."))
    options: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    if needs_its_size(name):
        options["img_size"] = size
    try:
        backbone = timm.create_model(name, pretrained=False, num_classes=0, **options)
    except TypeError as error:
        if "drop_path_rate" not in str(error):
            raise
        raise BadInput(f"{name} has no residual paths to drop: set drop_path to 0.") from error
    if drop_path and not _drops_paths(backbone, size):
        raise BadInput(f"{name} ignores drop_path: set it to 0, or take a backbone with residual paths.")
    return backbone


@torch.no_grad()
def _drops_paths(backbone: Any, size: int) -> bool:
    """Return whether a forward pass runs a drop-path module; timm also gives one to blocks that never use it."""
    met: list[Any] = []
    parts = [part for part in backbone.modules() if getattr(part, "drop_prob", None)]
    hooks = [part.register_forward_hook(lambda part, given, found: met.append(part)) for part in parts]
    backbone.eval().forward_features(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    backbone.train()
    return bool(met)


def needs_its_size(name: str) -> bool:
    """Return whether a backbone accepts films of a single size only, as most transformers do."""
    own: Any = timm.get_pretrained_cfg(name)
    return bool(own and own.fixed_input_size)


def own_normalisation(name: str) -> Normalisation:
    """Return the normalisation in timm's configuration of a model; a tag (``.in21k_ft_in1k``) selects the weights."""
    own: Any = timm.get_pretrained_cfg(name)
    config: dict[str, Any] = resolve_data_config(pretrained_cfg=own.to_dict())  # type: ignore[no-untyped-call]
    return Normalisation(tuple(config["mean"]), tuple(config["std"]))


def feature_level(backbone: Any, name: str, stride: int) -> tuple[int, int]:
    """Return the index and the channels of the backbone's feature map with a stride; the deepest if several have it.

    Raises:
        BadInput: no feature map has that stride, or the backbone does not return its inner features.
    """
    levels = [(one["reduction"], one["num_chs"]) for one in getattr(backbone, "feature_info", None) or []]
    fitting = [number for number, (reduction, _) in enumerate(levels) if reduction == stride]
    if not fitting or not hasattr(backbone, "forward_intermediates"):
        known = sorted({reduction for reduction, _ in levels})
        raise BadInput(
            f"{name} gives no feature map of stride {stride} to an auxiliary head "
            f"(it has {', '.join(map(str, known)) or 'none'}): set aux.stride to one it has, or aux to null."
        )
    return fitting[-1], levels[fitting[-1]][1]


def load_pretrained(backbone: Any, name: str, weights: str, tensors: dict[str, torch.Tensor]) -> None:
    """Load pretrained weights into a backbone, leaving out those of the classifier, which was removed.

    Raises:
        BadInput: the weights belong to another architecture.
    """
    own = backbone.state_dict()
    heads = backbone.pretrained_cfg.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    given = {key: value for key, value in tensors.items() if not key.startswith(tuple(f"{head}." for head in heads))}
    missing, unknown = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    misshapen = [key for key in own.keys() & given.keys() if own[key].shape != given[key].shape]
    if wrong := (missing + unknown + sorted(misshapen))[:3]:
        raise BadInput(
            f"The weights {weights} do not fit the backbone {name}: {', '.join(wrong)} and perhaps more differ. "
            "Name weights of the same architecture, or change the backbone."
        )
    backbone.load_state_dict(given)
