"""The tasks of a run."""

from jobs.contract.experiment import Classifier, Detector, Experiment, Folds
from jobs.contract.names import Stage
from jobs.contract.plan import fold_tasks, plan
from jobs.contract.task import TaskId

EXPERIMENT = Experiment(
    name="tiny", folds=Folds(count=3, run=(2, 0)), classifiers={"b3": Classifier()}, detectors={"yolo": Detector()}
)


def test_fold_tasks_are_each_model_on_each_selected_fold():
    assert fold_tasks(EXPERIMENT) == [
        TaskId(Stage.TRAIN_CLASSIFIER, "b3", 0),
        TaskId(Stage.TRAIN_CLASSIFIER, "b3", 2),
        TaskId(Stage.TRAIN_DETECTOR, "yolo", 0),
        TaskId(Stage.TRAIN_DETECTOR, "yolo", 2),
    ]
    assert {task.stage for task in fold_tasks(EXPERIMENT, predicts=True)} == {Stage.PREDICT}


def test_a_plan_fans_out_from_prepare_and_in_to_ensemble_and_evaluate():
    tasks = plan(EXPERIMENT)
    assert [task.name for task in tasks] == [
        "prepare", "b3-fold-0", "b3-fold-2", "yolo-fold-0", "yolo-fold-2", "ensemble", "evaluate",
    ]  # fmt: skip
    prepare, *folds, ensemble, evaluate = tasks
    assert prepare.needs == ()
    assert all(task.needs == (prepare.id,) for task in folds)
    assert ensemble.needs == tuple(task.id for task in folds)
    assert evaluate.needs == (ensemble.id,)


def test_every_task_comes_after_those_it_needs():
    seen: set[TaskId] = set()
    for task in plan(EXPERIMENT):
        assert seen.issuperset(task.needs)
        seen.add(task.id)


def test_only_a_detectors_tasks_need_its_image():
    for predicts in (False, True):
        assert {task.id.model for task in plan(EXPERIMENT, predicts=predicts) if task.detector} == {"yolo"}


def test_a_run_over_a_test_set_ends_with_evaluate_but_one_ordered_of_an_older_version_with_the_ensemble():
    former = [Stage.PREPARE, *[Stage.PREDICT] * 4, Stage.ENSEMBLE]
    assert [task.id.stage for task in plan(EXPERIMENT, predicts=True, scores=False)] == former
    assert [task.id.stage for task in plan(EXPERIMENT, predicts=True)] == [*former, Stage.EVALUATE]


def test_names_are_unique_and_short_enough_for_argos_timeline():
    names = [task.name for task in plan(EXPERIMENT)]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 23
