"""Lint's list of backbones equals timm's. With CXRFOLD_REGENERATE=1 the test regenerates it."""

import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest

from workflows.lint.backbones import FILE, Backbone, backbones, version

# Of each kind: with and without paths, with a TypeError, with blocks that ignore them, of one size, without inner maps.
SAMPLE = (
    "test_efficientnet", "tf_efficientnet_b3", "resnet18", "densenet121", "ghostnet_050", "vit_tiny_patch16_224",
    "convmixer_768_32", "dla34", "levit_128s", "swin_tiny_patch4_window7_224",
)  # fmt: skip


def measured(name: str) -> Backbone:
    """Build the model without memory for its weights, with paths to drop if it has any."""
    import timm
    import torch

    from jobs.contract.exits import BadInput
    from jobs.nets.classifier.backbone import create_backbone

    own: Any = timm.get_pretrained_cfg(name)
    with torch.device("meta"):
        try:
            backbone, drops = create_backbone(name, 0.1, own.input_size[-1] if own else 224), True
        except BadInput:
            backbone, drops = timm.create_model(name, pretrained=False, num_classes=0), False
    levels = getattr(backbone, "feature_info", None) if hasattr(backbone, "forward_intermediates") else None
    return Backbone(tuple(sorted({int(level["reduction"]) for level in levels or ()})), drops)


def written() -> Iterator[str]:
    """The file's lines. To measure all models takes some minutes: only for another timm."""
    import timm

    known = backbones() if version() == timm.__version__ else {}
    yield f"# timm {timm.__version__}"
    for name in timm.list_models():
        yield (known.get(name) or measured(name)).line(name)


@pytest.mark.slow
def test_lint_knows_the_models_of_the_locked_timm() -> None:
    import timm

    logging.getLogger("timm").setLevel(logging.ERROR)
    if os.environ.get("CXRFOLD_REGENERATE"):
        FILE.write_text("".join(f"{line}\n" for line in written()), encoding="utf-8")
    assert version() == timm.__version__, "make golden writes backbones.tsv anew"
    assert list(backbones()) == timm.list_models()
    assert {name: backbones()[name] for name in SAMPLE} == {name: measured(name) for name in SAMPLE}
