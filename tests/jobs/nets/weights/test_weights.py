from pathlib import Path

import pytest
import timm
import torch

from jobs.contract.exits import BadInput, ServiceAway
from jobs.contract.experiment import Classifier
from jobs.nets.classifier.net import create_classifier
from jobs.nets.normalisation import Normalisation
from jobs.nets.weights import pretrained as weights
from jobs.nets.weights.pretrained import find, pretrained, put
from jobs.runtime.store import Store
from jobs.tools.weights import add


def test_weights_come_back_as_they_were_stored_with_their_normalisation(s3_store: Store, tmp_path: Path):
    whole = timm.create_model("test_efficientnet", num_classes=7)
    output = put(
        s3_store, "test_efficientnet.mine", whole.state_dict(), Normalisation((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    )
    assert output == find(s3_store, "test_efficientnet.mine")
    given = pretrained(s3_store, "test_efficientnet.mine", tmp_path)
    assert given.sha256 == output.sha256
    net = create_classifier(Classifier(backbone="test_efficientnet", size=64), 1, given)
    assert torch.equal(net.backbone.conv_stem.weight, whole.conv_stem.weight)
    assert net.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert net.std.flatten().tolist() == pytest.approx([0.5, 0.6, 0.7])


def test_a_file_that_is_not_what_its_hash_says_is_refused(s3_store: Store, tmp_path: Path):
    output = put(s3_store, "mine", {"w": torch.zeros(3)}, None)
    s3_store.put(output.key, bytes(output.size))
    with pytest.raises(BadInput, match="weights add"):
        pretrained(s3_store, "mine", tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        (2**62).to_bytes(8, "little") + b"{}",
        b"\x04" + bytes(7) + b"{{{{",
        *(
            len(header).to_bytes(8, "little") + header
            for header in (b'{"__metadata__":{"normalisation":"[]"}}', b'{"__metadata__":{"normalisation":"{"}}')
        ),
    ],
)
def test_a_malformed_file_is_refused_with_what_to_do(content: bytes, s3_store: Store, tmp_path: Path):
    (tmp_path / "x").write_bytes(content)
    output = s3_store.upload(tmp_path / "x", "weights/mine-x.safetensors")
    s3_store.put_json("weights/mine.json", output.model_dump())
    with pytest.raises(BadInput, match=r"no whole safetensors file of weights.*weights add"):
        pretrained(s3_store, "mine", tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no_such_net", "Neither timm nor ultralytics knows 'no_such_net'"),
        ("test_efficientnet.no_such_tag", r"no pretrained weights .* it has test_efficientnet.r160_in1k"),
    ],
)
def test_names_that_nobody_has_weights_for_are_explained(s3_environment: dict[str, str], name: str, sentence: str):
    with pytest.raises(BadInput, match=sentence):
        add(name)


def test_adding_without_internet_says_so(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    def unreachable(name: str, pretrained: bool) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(ServiceAway, match="needs the internet"):
        add("test_efficientnet")


def test_adding_stores_what_timm_gives(s3_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    net = timm.create_model("test_resnet")
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: net)
    add("test_resnet")
    given = weights.pretrained(s3_store, "test_resnet", tmp_path)
    assert given.normalisation == Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert given.tensors.keys() == net.state_dict().keys()
