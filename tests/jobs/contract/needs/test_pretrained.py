import pytest
from pydantic import ValidationError

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Classifier, Detector, Experiment, Folds
from jobs.contract.names import Stage
from jobs.contract.needs.pretrained import PromotedRecord, check_pretrained
from jobs.contract.stored import layout
from jobs.contract.stored.records import TrainedFold
from jobs.contract.task import TaskId

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


WIDE = Experiment(
    name="wide", classifiers={"net": Classifier(backbone="tf_efficientnet_b3")}, folds=Folds(count=5, run=(0, 1))
)


def starting_from(weights: str, **changes: object) -> Experiment:
    model = Classifier(backbone="tf_efficientnet_b3", weights=weights).model_copy(update=changes)
    return Experiment(name="narrow", classifiers={"b3": model}, folds=Folds(count=5, run=(0, 1)))


def wide_run(*folds: int) -> dict[str, object]:
    done = {layout.reference("wide", TaskId(Stage.TRAIN_CLASSIFIER, "net", fold)): {} for fold in folds}
    return {layout.run_experiment("wide"): WIDE.model_dump(mode="json"), **done}


def test_a_finished_run_passes_and_an_unfinished_fold_is_told():
    check_pretrained(starting_from("run:wide/net"), wide_run(0, 1).get, "s3://films")
    with pytest.raises(BadInput, match=r"classifiers.b3.weights: run wide has not finished net fold 1: resume"):
        check_pretrained(starting_from("run:wide/net"), wide_run(0).get, "s3://films")


@pytest.mark.parametrize(
    ("experiment", "said"),
    [
        (starting_from("run:wild/net"), "there is no run wild"),
        (starting_from("run:wide/b3"), "run wide has no model b3; it has net"),
        (
            starting_from("run:wide/net", backbone="resnet50"),
            "weights of .*, and the model is resnet50",
        ),
        (
            starting_from("run:wide/net").model_copy(update={"folds": Folds()}),
            "fold 2 has no start there: .*--fold 0",
        ),
    ],
)
def test_a_run_that_cannot_be_started_from_is_told(experiment: Experiment, said: str):
    with pytest.raises(BadInput, match=said):
        check_pretrained(experiment, wide_run(0, 1).get, "s3://films")


def test_a_promoted_name_gives_each_fold_its_start_or_all_the_same():
    trained = TrainedFold(stage=Stage.TRAIN_CLASSIFIER, weights="1", index="2")
    each = PromotedRecord(architecture="tf_efficientnet_b3", run="wide", model="net", folds={0: trained})
    key = layout.weights("lungs")
    with pytest.raises(BadInput, match=r"run wide has no weights of net fold 1, only of fold 0: .* --fold 0"):
        check_pretrained(starting_from("lungs"), {key: each.model_dump(mode="json")}.get, "s3://films")
    every = each.model_copy(update={"fold": 0})
    check_pretrained(starting_from("lungs"), {key: every.model_dump(mode="json")}.get, "s3://films")


@pytest.mark.parametrize("weights", ["run:wide", "run:/net", "run:Wide Run/net"])
def test_a_run_without_a_model_is_no_name_of_weights(weights: str):
    with pytest.raises(ValidationError, match=r"run:RUN/MODEL|cannot name a run"):
        Classifier(weights=weights)
