import pytest
import torch

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Detector
from jobs.nets.yolo.model import architecture, build, initial, supports_tta, trained
from tests.jobs.nets.yolo.films import TINY
from tests.jobs.nets.yolo.lab import same

NAMES = [
    f"{family}{scale}{end}" for family, end in (("yolov5", "u"), ("yolov8", ""), ("yolo11", "")) for scale in "nsmlx"
]


def parameters(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_every_model_an_experiment_may_name_is_built_from_the_packages_yaml(name: str):
    net = build(Detector(model=name, width=0.125))
    assert net.yaml["scale"] == name.removesuffix("u")[-1]
    assert (net.yaml["channels"], net.yaml["nc"], net.names) == (1, 1, {0: "opacity"})
    assert supports_tta(net)


# Published for 80 classes and three channels; one class and one channel take away up to 6 per cent.
@pytest.mark.parametrize(("name", "published"), [("yolov8n", 3.16e6), ("yolo11n", 2.62e6), ("yolov5nu", 2.65e6)])
def test_a_model_has_about_as_many_parameters_as_published(name: str, published: float):
    assert 0.94 * published < parameters(build(Detector(model=name))) < published


def test_width_replaces_the_channel_multiple_and_leaves_the_depth():
    own, narrow = architecture("yolov8m"), architecture("yolov8m", 0.25)
    assert own["scales"] == {"m": [0.67, 0.75, 768]}
    assert narrow["scales"] == {"m": [0.67, 0.25, 768]}


def test_the_same_seed_gives_the_same_net_and_leaves_torchs_generator_alone():
    torch.manual_seed(9)
    expected = torch.rand(1)
    torch.manual_seed(9)
    one, same_seed, other = initial(TINY, 1), initial(TINY, 1), initial(TINY, 2)
    assert torch.equal(torch.rand(1), expected)
    assert same(one.state_dict(), same_seed.state_dict())
    assert not same(one.state_dict(), other.state_dict())


def test_pretrained_weights_of_colour_and_80_classes_start_a_grey_net_of_one():
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(5)
    published = DetectionModel(architecture("yolov8n", 0.125), ch=3, nc=80, verbose=False).state_dict()
    net = initial(TINY, 1, published)
    own = net.state_dict()
    assert torch.equal(own["model.0.conv.weight"], published["model.0.conv.weight"].sum(1, keepdim=True))
    assert torch.equal(own["model.22.cv2.0.0.conv.weight"], published["model.22.cv2.0.0.conv.weight"])
    assert not same(own, initial(TINY, 1).state_dict())


def test_pretrained_weights_of_another_architecture_are_refused():
    wrong = build(Detector(model="yolov8n", width=0.25)).state_dict()
    with pytest.raises(BadInput, match="weights 'coco' do not fit yolov8n"):
        initial(TINY.model_copy(update={"weights": "coco"}), 1, wrong)


def test_trained_weights_come_back_as_they_were():
    tensors = initial(TINY, 4).state_dict()
    net = trained(TINY, tensors)
    assert same(net.state_dict(), tensors)
    assert not net.training
