# SPDX-License-Identifier: AGPL-3.0-only
"""YOLO nets by name, built from ultralytics' YAML: one grey channel in, one class out."""

import re
from typing import TYPE_CHECKING, Any, Final

import torch
from ultralytics.nn.modules.head import Detect
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import ROOT, YAML

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Detector

if TYPE_CHECKING:  # imports the store, which an exported net does not include
    from jobs.runtime.checkpoint import Tensors

CHANNELS: Final = 1
CLASSES: Final = {0: "opacity"}
FAMILIES: Final = {"yolov5": "v5/yolov5.yaml", "yolov8": "v8/yolov8.yaml", "yolo11": "11/yolo11.yaml"}
FIRST: Final = "model.0.conv.weight"


def architecture(name: str, width: float | None = None) -> dict[str, Any]:
    """Return the net's description in ultralytics' format.

    Args:
        name: e.g. ``yolov8m``, ``yolov5xu``, ``yolo11s``: family, then scale.
        width: channel multiple that replaces the scale's; depth and the cap on channels stay.
    """
    match = re.fullmatch(r"(yolov5|yolov8|yolo11)([nsmlx])u?", name)
    assert match, f"the experiment lets no detector {name} through"
    family, scale = match.groups()
    description: dict[str, Any] = YAML.load(ROOT / "cfg" / "models" / FAMILIES[family])
    depth, own_width, cap = description["scales"][scale]
    description["scales"] = {scale: [depth, width or own_width, cap]}
    return {**description, "scale": scale, "yaml_file": f"{family}{scale}.yaml"}


def published(name: str) -> torch.nn.Module:
    """Create a net as ultralytics publishes it (three colour channels, COCO's 80 classes), with random weights."""
    net: torch.nn.Module = DetectionModel(architecture(name), ch=3, nc=80, verbose=False)
    return net


def build(detector: Detector) -> torch.nn.Module:
    """Create a net of the detector's architecture, with random weights from torch's global generator."""
    net: torch.nn.Module = DetectionModel(
        architecture(detector.model, detector.width), ch=CHANNELS, nc=len(CLASSES), verbose=False
    )
    net.names = dict(CLASSES)  # type: ignore[assignment]
    return net


def initial(detector: Detector, seed: int, pretrained: "Tensors | None" = None) -> torch.nn.Module:
    """Create the net for the start of training: random weights from the seed, overwritten by pretrained ones if given.

    Raises:
        BadInput: the pretrained weights belong to another architecture.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = build(detector)
    if pretrained is not None:
        _start_from(net, pretrained, detector)
    return net


def trained(detector: Detector, tensors: "Tensors") -> torch.nn.Module:
    """Create the net with its trained weights, in eval mode."""
    net = build(detector)
    net.load_state_dict(tensors)
    return net.eval()


def supports_tta(net: torch.nn.Module) -> bool:
    """Return whether ultralytics' augmented inference has an effect; end-to-end heads silently ignore it."""
    head = net.model[-1]  # type: ignore[index]
    return type(head) is Detect and not net.end2end


def _start_from(net: torch.nn.Module, pretrained: "Tensors", detector: Detector) -> None:
    """Copy the tensors that fit; only the classification branch may differ. Sum colour filters to one grey channel."""
    own = net.state_dict()
    given = dict(pretrained)
    if FIRST in given and given[FIRST].shape[1] != CHANNELS:
        given[FIRST] = given[FIRST].sum(1, keepdim=True)
    fitting = {name: tensor for name, tensor in given.items() if name in own and tensor.shape == own[name].shape}
    classes = f"model.{len(net.model) - 1}.cv3."  # type: ignore[arg-type]
    if lacking := [name for name in own if name not in fitting and not name.startswith(classes)]:
        raise BadInput(
            f"the weights {detector.weights!r} do not fit {detector.model}: {len(lacking)} of {len(own)} tensors are "
            f"missing or of another shape, {lacking[0]} among them; name weights of the same model and width"
        )
    net.load_state_dict(fitting, strict=False)
