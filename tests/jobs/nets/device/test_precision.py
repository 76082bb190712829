import pytest
import torch

from jobs.nets.device.precision import gradient_scaler, resolve_precision, restore_scaler


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


def test_a_scaler_goes_on_where_its_own_precision_left_it_and_begins_anew_in_another():
    written = gradient_scaler("fp16", "cpu")
    written.scale(torch.ones(1))  # makes the scale
    written.update(8.0)
    again, other = gradient_scaler("fp16", "cpu"), gradient_scaler("bf16", "cpu")
    restore_scaler(again, written.state_dict())
    restore_scaler(other, written.state_dict())
    assert again.get_scale() == 8.0
    assert not other.is_enabled()
    fresh = gradient_scaler("fp16", "cpu")
    restore_scaler(fresh, other.state_dict())
    assert fresh.get_scale() == 65536.0
