import numpy as np
import pytest
import torch

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Aux, Classifier, ClassifierInference
from jobs.films.dataset import Dataset
from jobs.nets.classifier.backbone import own_normalisation
from jobs.nets.classifier.inference import predict
from jobs.nets.classifier.net import class_probabilities, create_classifier, load_classifier
from jobs.nets.device.failures import explained
from tests.jobs.nets.classifier.films import TINY, write_films


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_films(tmp_path_factory.mktemp("films"), studies=8)


def films(count: int = 4, size: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (count, 1, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def changed(**changes: object) -> Classifier:
    return TINY.model_copy(update=changes)


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_resnet"])
def test_normalisation_is_the_backbones_own_for_each_channel(backbone: str):
    net = create_classifier(changed(backbone=backbone), 1, None)
    seen: list[torch.Tensor] = []
    hook = next(m for m in net.backbone.modules() if isinstance(m, torch.nn.Conv2d))
    hook.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    grey = films()
    net.eval()(grey)
    own = own_normalisation(backbone)
    for channel, (mean, std) in enumerate(zip(own.mean, own.std, strict=True)):
        torch.testing.assert_close(seen[0][:, channel], (grey[:, 0] / 255 - mean) / std)


def test_normalisation_follows_the_tag_of_the_weights():
    assert own_normalisation("tf_efficientnetv2_s").mean == (0.5, 0.5, 0.5)
    assert own_normalisation("tf_efficientnet_b3").mean != (0.5, 0.5, 0.5)
    assert own_normalisation("tf_efficientnet_b3.ap_in1k") != own_normalisation("tf_efficientnet_b3.aa_in1k")


@pytest.mark.parametrize("stride", [4, 8, 16, 32])
def test_the_auxiliary_head_sees_the_map_of_its_stride(stride: int):
    net = create_classifier(changed(aux=Aux(stride=stride, layers=3, channels=8)), 1, None)
    answer = net(films())
    assert answer.mask is not None
    assert answer.mask.shape == (4, 1, 64 // stride, 64 // stride)
    assert sum(isinstance(part, torch.nn.Conv2d) for part in net.aux.modules()) == 3  # type: ignore[union-attr]


def test_the_mask_loss_reaches_the_backbone_but_not_what_lies_behind_its_map():
    net = create_classifier(changed(aux=Aux(stride=16, layers=2, channels=8)), 1, None)
    answer = net(films())
    assert answer.mask is not None
    answer.mask.sum().backward()
    assert net.backbone.conv_stem.weight.grad is not None
    assert net.backbone.conv_head.weight.grad is None


def test_answers_are_the_same_with_and_without_the_auxiliary_head():
    with_aux = create_classifier(TINY, 1, None).eval()
    without = create_classifier(changed(aux=None), 1, None).eval()
    without.load_state_dict(with_aux.state_dict(), strict=False)
    torch.testing.assert_close(with_aux(films()).logits, without(films()).logits)


def test_dropout_reaches_the_logits_while_training_and_only_then():
    net = create_classifier(changed(dropout=0.5, backbone="test_efficientnet_gn"), 1, None)
    first, second = net(films()).logits, net(films()).logits
    assert not torch.equal(first, second)
    net.eval()
    assert torch.equal(net(films()).logits, net(films()).logits)


def test_drop_path_reaches_the_net_or_is_refused():
    net = create_classifier(changed(backbone="test_resnet", drop_path=0.9), 1, None)
    for part in net.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(part.eval().weight)  # at zero, as they begin, branches can be dropped unseen
    assert not torch.equal(net(films()).logits, net(films()).logits)
    with pytest.raises(BadInput, match="test_efficientnet ignores drop_path"):
        create_classifier(changed(drop_path=0.4), 1, None)


def test_the_same_seed_gives_the_same_net():
    one, same, other = (create_classifier(TINY, seed, None).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert not torch.equal(one["head.weight"], other["head.weight"])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"backbone": "test_efficientnett"}, "timm knows no backbone 'test_efficientnett': test_efficientnet"),
        ({"backbone": "test_vit", "aux": Aux(stride=8)}, r"no feature map of stride 8 .*set aux.stride"),
    ],
)
def test_what_does_not_go_together_is_explained(changes: dict[str, object], sentence: str):
    with pytest.raises(BadInput, match=sentence):
        create_classifier(changed(**changes), 1, None)


def test_a_stored_net_answers_as_it_did():
    net = create_classifier(TINY, 1, None).eval()
    again = load_classifier(TINY, {name: value.contiguous() for name, value in net.state_dict().items()}).eval()
    assert torch.equal(net(films()).logits, again(films()).logits)
    with pytest.raises(BadInput, match="do not fit a classifier on test_resnet"):
        load_classifier(changed(backbone="test_resnet"), net.state_dict())


def test_probabilities_add_up_within_each_question():
    logits = torch.randn(5, 6, dtype=torch.float64)
    joint = class_probabilities(logits, changed(head="joint6"))
    softmax = logits.softmax(1)
    torch.testing.assert_close(joint[:, :4], softmax[:, :4] / softmax[:, :4].sum(1, keepdim=True))
    torch.testing.assert_close(joint[:, 4:].sum(1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(class_probabilities(logits[:, :4], changed()), logits[:, :4].softmax(1))
    film2 = class_probabilities(logits[:, :2], changed(head="film2"))
    torch.testing.assert_close(film2, logits[:, :2].softmax(1))


def test_a_net_trained_class_by_class_answers_class_by_class():
    logits = torch.randn(5, 6, dtype=torch.float64)
    assert torch.equal(class_probabilities(logits, changed(head="joint6", loss="sigmoid")), logits.sigmoid())


def test_a_gpu_that_is_too_small_is_explained(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**30, 24 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 23 * 2**30)
    sentence = r"24 GiB do not hold a batch of 8 films at 512 px: lower batch and raise accumulate"
    with pytest.raises(BadInput, match=sentence), explained(8, 512, "batch"):
        raise torch.cuda.OutOfMemoryError


def test_the_mean_over_a_film_and_its_mirror_does_not_know_left_from_right(dataset: Dataset):
    model = changed(inference=ClassifierInference(tta="flip", batch=3))
    net, pack = create_classifier(model, 1, None), dataset.pack(64)

    class Mirrored:
        size = 64

        def __getitem__(self, row: int) -> np.ndarray:
            return pack[row][:, ::-1]

    rows = np.arange(len(dataset.index))
    straight, mirrored = predict(net, model, pack, rows, "cpu"), predict(net, model, Mirrored(), rows, "cpu")  # type: ignore[arg-type]
    np.testing.assert_allclose(straight, mirrored, atol=1e-6)
    assert straight.shape == (len(rows), 4)
