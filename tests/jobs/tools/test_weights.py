from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Classifier
from jobs.nets.classifier.net import create_classifier
from jobs.nets.normalisation import Normalisation
from jobs.nets.weights.pretrained import pretrained, read_file
from jobs.runtime.store import Store
from jobs.tools.weights import add, list_stored

NAME = "test_efficientnet.r160_in1k"


def tensors(**options: object) -> dict[str, torch.Tensor]:
    return timm.create_model("test_efficientnet", **options).state_dict()


def start(store: Store, cache: Path) -> dict[str, torch.Tensor]:
    """What a training with these weights begins with."""
    model = Classifier(backbone="test_efficientnet", size=64, weights=NAME)
    return create_classifier(model, 1, pretrained(store, NAME, cache)).backbone.state_dict()


@pytest.mark.parametrize("form", ["plain", "wrapped", "prefixed", "other names in order", "other classes"])
def test_a_state_dict_of_the_architecture_is_taken_in_every_form(s3_store: Store, tmp_path: Path, form: str):
    given = tensors(num_classes=7) if form == "other classes" else tensors()
    saved: object = given
    if form == "wrapped":
        saved = {"epoch": 3, "state_dict": given}
    if form == "prefixed":
        saved = {f"module.{name}": tensor for name, tensor in given.items()}
    if form == "other names in order":
        counted = [name for name in given if not name.endswith("num_batches_tracked")]
        saved = {f"layer{number}.{name.rpartition('.')[2]}": given[name] for number, name in enumerate(counted)}
    torch.save(saved, tmp_path / "weights.pth")
    add(NAME, source=tmp_path / "weights.pth")
    begun = start(s3_store, tmp_path / "cache")
    floating = [name for name in begun if begun[name].is_floating_point()]
    assert floating
    assert all(torch.equal(begun[name], given[name]) for name in floating)


def test_a_misfit_is_refused_with_the_first_tensors_that_differ(s3_store: Store, tmp_path: Path):
    given = tensors()
    save_file({**given, "conv_stem.weight": torch.zeros(3, 3)}, tmp_path / "shape.safetensors")
    with pytest.raises(BadInput, match=r"1 tensors have other shapes: conv_stem.weight \(3, 3\) for"):
        add(NAME, source=tmp_path / "shape.safetensors")
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "net.safetensors")
    with pytest.raises(BadInput, match=r"missing blocks\..* and \d+ more; unknown conv1"):
        add(NAME, source=tmp_path / "net.safetensors")


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("/tmp/executed-by-a-pickle"),)


def test_a_file_that_holds_code_is_refused_and_the_code_not_run(s3_store: Store, tmp_path: Path):
    torch.save({"model": Payload()}, tmp_path / "code.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00")
    for file, sentence in (("code.pth", "hold code are not loaded"), ("cut.safetensors", "no whole safetensors file")):
        with pytest.raises(BadInput, match=sentence):
            add(NAME, source=tmp_path / file)
    assert not Path("/tmp/executed-by-a-pickle").exists()


def test_weights_travel_by_file_from_a_machine_without_the_store(
    s3_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    net, create = timm.create_model("test_efficientnet"), timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: net)
    with monkeypatch.context() as elsewhere:
        elsewhere.delenv("CXRFOLD_STORE")
        add(NAME, to=tmp_path / "carried.safetensors")
    assert f"weights add {NAME} --from" in capsys.readouterr().out
    assert read_file(tmp_path / "carried.safetensors")[1] == Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    monkeypatch.setattr(timm, "create_model", create)
    add(NAME, source=tmp_path / "carried.safetensors")
    assert torch.equal(start(s3_store, tmp_path / "cache")["conv_stem.weight"], net.conv_stem.weight)
    list_stored(as_json=False)
    assert f"{NAME}\ttest_efficientnet\t" in capsys.readouterr().out
