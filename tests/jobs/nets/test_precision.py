import pytest
import torch

from jobs.nets.precision import resolve_precision


def computes_bf16(including_emulation: bool = True) -> bool:
    """What PyTorch says of a T4: that it can, because it counts emulation."""
    return including_emulation


@pytest.mark.parametrize(
    ("supported", "precision"),
    [(computes_bf16, "fp16"), (lambda including_emulation: True, "bf16")],
    ids=["T4", "A100"],
)
def test_auto_is_what_the_card_computes_in(supported: object, precision: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert resolve_precision("auto", "cuda") == precision
    assert resolve_precision("auto", "cpu") == "fp32"
    assert resolve_precision("fp32", "cuda") == "fp32"
