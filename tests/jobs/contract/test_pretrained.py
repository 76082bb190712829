import pytest

from jobs.contract import layout
from jobs.contract.exits import BadInput
from jobs.contract.experiment import Classifier, Detector, Experiment
from jobs.contract.pretrained import check_pretrained

EXPERIMENT = Experiment(
    name="tiny",
    classifiers={"b3": Classifier(backbone="tf_efficientnet_b3", weights="tf_efficientnet_b3.ns_jft_in1k")},
    detectors={"yolo": Detector(model="yolov8n", weights="yolov8n")},
)


def stored(**architectures: str | None) -> dict[str, object]:
    names = {"b3": "tf_efficientnet_b3.ns_jft_in1k", "yolo": "yolov8n"}
    record = {"key": "weights/x.safetensors", "sha256": "0" * 64, "size": 1}
    return {layout.weights(names[model]): {**record, "architecture": one} for model, one in architectures.items()}


def test_weights_that_are_there_pass_also_records_that_do_not_name_an_architecture():
    check_pretrained(EXPERIMENT, stored(b3="tf_efficientnet_b3", yolo=None).get, "s3://films")


def test_missing_weights_are_told_with_the_commands_that_add_them():
    with pytest.raises(
        BadInput, match=r"detectors.yolo: .* no pretrained weights yolov8n .*weights add yolov8n.*--from"
    ):
        check_pretrained(EXPERIMENT, stored(b3="tf_efficientnet_b3").get, "s3://films")


def test_weights_of_another_architecture_are_refused_by_name():
    with pytest.raises(BadInput, match=r"classifiers.b3.weights: .* weights of tf_efficientnet_b5, and the model is"):
        check_pretrained(EXPERIMENT, stored(b3="tf_efficientnet_b5", yolo="yolov8n").get, "s3://films")
