import pytest
from pydantic import ValidationError

from jobs.contract.exits import BadInput, Damaged
from jobs.contract.experiment import Classifier, Data, Experiment, Folds
from jobs.contract.needs.split import FrozenSplit, check_split_name, find_split
from jobs.contract.needs.teachers import check_stored
from jobs.contract.stored import layout

SPLIT = FrozenSplit(count=3, patients={"p": 0}, studies={"s": 0})
STORED = {layout.split("hospital"): SPLIT.model_dump(mode="json")}


def experiment(count: int = 3, **data: str) -> Experiment:
    folds = Folds(count=count, frozen="hospital")
    return Experiment(name="tiny", data=Data(**data), folds=folds, classifiers={"net": Classifier()})


def test_a_split_is_found_by_its_name():
    assert find_split(experiment(), STORED.get, "s3://films") == SPLIT
    assert find_split(experiment().model_copy(update={"folds": Folds()}), {}.get, "s3://films") is None


def test_a_split_that_is_missing_damaged_or_of_other_folds_is_refused_before_anything_starts():
    def damaged(key: str) -> object:
        raise Damaged(f"{key} is no JSON")

    for read in ({}.get, damaged, {layout.split("hospital"): {"count": 3}}.get):
        with pytest.raises(BadInput, match=r"s3://films has no split hospital .* cv.py split import FILE hospital"):
            check_stored(experiment(), read, "s3://films")
    with pytest.raises(BadInput, match=r"hospital has 3 folds, and folds.count is 5: set folds.count to 3"):
        check_stored(experiment(5), STORED.get, "s3://films")


def test_two_splits_for_one_experiment_are_refused():
    with pytest.raises(ValidationError, match=r"data.split and folds.frozen both say"):
        experiment(split="split.csv")


@pytest.mark.parametrize("name", ["", "A", "a/b", "-a", "a" * 41])
def test_names_that_no_experiment_can_give_are_refused(name: str):
    with pytest.raises(BadInput, match="cannot name a split"):
        check_split_name(name)
    with pytest.raises(ValidationError):
        Folds(frozen=name)
