import pytest

from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage
from jobs.contract.plan import fold_tasks, plan
from jobs.contract.stored import layout
from jobs.contract.task import TaskId

FOLD = TaskId(Stage.TRAIN_CLASSIFIER, "b3", 2)
WHOLE = TaskId(Stage.ENSEMBLE)
MODELS = {"classifiers": {"b": {}}, "detectors": {"y": {}}}
EXPERIMENT = Experiment.model_validate({"name": "x", "folds": {"run": [0, 3]}, **MODELS})


@pytest.mark.parametrize(
    ("task", "name", "former_name", "options", "path", "text"),
    [
        (FOLD, "b3-fold-2", "train-classifier-b3-fold-2", " --model b3 --fold 2", "train-classifier/b3/fold-2",
         "train-classifier b3 fold 2"),
        (WHOLE, "ensemble", "ensemble", "", "ensemble", "ensemble"),
    ],
)  # fmt: skip
def test_names_options_and_paths_come_from_the_task(
    task: TaskId, name: str, former_name: str, options: str, path: str, text: str
) -> None:
    assert (task.name, task.former_name, task.options, task.path, str(task)) == (name, former_name, options, path, text)


def test_s3_keys_of_a_task_lie_under_its_path() -> None:
    assert layout.task("r", FOLD) == "runs/r/train-classifier/b3/fold-2"
    assert layout.reference("r", FOLD) == "runs/r/train-classifier/b3/fold-2.json"
    assert layout.heartbeat("r", WHOLE) == "runs/r/ensemble/heartbeat.json"


def test_tasks_of_a_plan_have_distinct_names_and_follow_those_they_need() -> None:
    tasks = plan(EXPERIMENT)
    assert [task.name for task in tasks] == [
        "prepare", "b-fold-0", "b-fold-3", "y-fold-0", "y-fold-3", "ensemble", "evaluate",
    ]  # fmt: skip
    seen: set[TaskId] = set()
    for task in tasks:
        assert set(task.needs) <= seen
        seen.add(task.id)
    assert [task.name for task in tasks if task.detector] == ["y-fold-0", "y-fold-3"]


def test_a_run_on_a_test_set_predicts_per_fold_and_ends_with_evaluate() -> None:
    tasks = plan(EXPERIMENT, predicts=True)
    assert [task.id.stage for task in tasks] == [Stage.PREPARE, *[Stage.PREDICT] * 4, Stage.ENSEMBLE, Stage.EVALUATE]
    assert [task.id for task in tasks[1:-2]] == fold_tasks(EXPERIMENT, predicts=True)
