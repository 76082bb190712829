"""Teachers that can label a student's films, and those that cannot."""

from typing import Any

import pytest
from pydantic import ValidationError

from jobs.contract.exits import BadInput
from jobs.contract.experiment import (
    Classifier,
    Data,
    Detector,
    Ensemble,
    Experiment,
    ExtraFilms,
    Folds,
    PseudoBoxes,
    PseudoLabels,
)  # fmt: skip
from jobs.contract.names import Stage
from jobs.contract.needs.teachers import asked, check_teachers
from jobs.contract.plan import plan
from jobs.contract.stored import layout
from jobs.contract.task import TaskId

STUDIES, FILMS, BOXES = Classifier(), Classifier(head="film2"), Detector()
WANTED = PseudoLabels(run="teacher", boxes=PseudoBoxes(above=0.3, below=0.1))
ALONE = PseudoLabels(run="teacher")
SOME = Folds(run=(0, 1))


def student(labels: PseudoLabels = WANTED, **models: Any) -> Experiment:
    data = Data(extra=(ExtraFilms(source="s3://films/more", labels=labels),))
    return Experiment(name="student", data=data, folds=SOME, **(models or {"classifiers": {"net": STUDIES}}))


def check(student: Experiment, folds: Folds = SOME, lost: str = "", **models: Any) -> None:
    teacher = Experiment(name="teacher", folds=folds, **models)
    stored: dict[str, Any] = {layout.run_experiment("teacher"): teacher.model_dump(mode="json")}
    for stage, names in ((Stage.TRAIN_CLASSIFIER, teacher.classifiers), (Stage.TRAIN_DETECTOR, teacher.detectors)):
        for task in (TaskId(stage, name, fold) for name in names for fold in folds.selected):
            if task.name != lost:
                stored[layout.reference("teacher", task)] = {}
    check_teachers(student, stored.get, "s3://films")


def test_a_teacher_of_the_same_questions_and_folds_passes():
    check(student(), classifiers={"b3": STUDIES}, detectors={"yolo": BOXES})
    check(student(ALONE), classifiers={"b3": STUDIES})
    check(student(detectors={"yolo": BOXES}), detectors={"yolo": BOXES})


@pytest.mark.parametrize(
    ("models", "teacher", "said"),
    [
        ({"classifiers": {"net": STUDIES}}, {"detectors": {"yolo": BOXES}}, "net learns study classes, and no model"),
        (
            {"detectors": {"y": BOXES}},
            {"classifiers": {"b3": STUDIES}},
            "y learns from boxes, and run teacher gives none",
        ),
        ({"classifiers": {"two": FILMS}}, {"classifiers": {"b3": STUDIES}}, "two learns from boxes"),
    ],
)
def test_a_teacher_of_other_classes_is_refused(models: Any, teacher: Any, said: str):
    with pytest.raises(BadInput, match=said):
        check(student(**models), **teacher)


def test_boxes_that_are_not_asked_for_teach_no_detector():
    with pytest.raises(BadInput, match="yolo learns from boxes"):
        check(student(ALONE, detectors={"yolo": BOXES}), classifiers={"b3": STUDIES}, detectors={"yolo": BOXES})


def test_a_teacher_without_a_fold_or_unfinished_is_refused():
    with pytest.raises(BadInput, match="run teacher trains fold 0, so no net of it can label films for fold 1"):
        check(student(), Folds(run=(0,)), classifiers={"b3": STUDIES})
    with pytest.raises(BadInput, match=r"has not finished b3-fold-1: (resume it first \()?cv.py resume teacher"):
        check(student(), lost="b3-fold-1", classifiers={"b3": STUDIES})
    with pytest.raises(BadInput, match=r"data.extra.0.labels: there is no run teacher"):
        check_teachers(student(), {}.get, "s3://films")


def test_only_models_that_vote_and_answer_are_asked():
    teacher = Experiment(
        name="teacher", classifiers={"b3": STUDIES, "two": FILMS, "out": STUDIES}, detectors={"yolo": BOXES},
        ensemble=Ensemble(weights={"out": 0}),
    )  # fmt: skip
    assert list(asked(teacher, WANTED)) == ["b3", "yolo"]
    assert list(asked(teacher, ALONE)) == ["b3"]


def test_labels_are_tasks_between_prepare_and_the_trainings_of_their_fold():
    tasks = {task.name: task for task in plan(student())}
    assert [need.name for need in tasks["net-fold-1"].needs] == ["prepare", "extra-0-fold-1"]
    assert tasks["extra-0-fold-1"].detector, "boxes need the image with ultralytics"
    assert not {task.name: task for task in plan(student(ALONE))}["extra-0-fold-1"].detector
    assert not [name for name in (task.name for task in plan(student(), predicts=True)) if name.startswith("extra")]


def test_thresholds_that_cross_and_names_that_collide_are_refused():
    with pytest.raises(ValidationError, match=r"below \(0.5\) must not exceed above \(0.1\)"):
        PseudoBoxes(above=0.1, below=0.5)
    with pytest.raises(ValidationError, match=r"extra-0 names films of data.extra"):
        student(classifiers={"extra-0": STUDIES})
    with pytest.raises(ValidationError, match="cannot name a run"):
        PseudoLabels(run="A Run")
