"""Which experiments a study holds, and what each is compared with."""

from pathlib import Path

import pytest

from jobs.contract.exits import BadInput
from workflows.settings.recipes import EXPERIMENTS
from workflows.study.selection import Changes, ancestors, select


def parents(named: str, against: str | None = None) -> dict[str, str | None]:
    studied = select(named, Changes(), against)
    names = {one.run: one.experiment.name for one in studied}
    return {one.experiment.name: names.get(one.parent or "") for one in studied}


def test_the_parent_is_the_nearest_that_is_extended_and_studied():
    assert parents("study-03,study-06,study-15,yolo-02") == {
        "study-03": None, "study-06": "study-03", "study-15": "study-03", "yolo-02": None,
    }  # fmt: skip
    assert parents("study-03,study-13,study-15")["study-15"] == "study-13"


def test_one_experiment_can_be_what_all_are_compared_with():
    assert parents("study-06,yolo-01", against="study-17") == {
        "study-17": None, "study-06": "study-17", "yolo-01": "study-17",
    }  # fmt: skip


def test_a_star_names_many_and_none_is_studied_twice():
    found = parents("yolo-0*,yolo-01")
    assert list(found) == [f"yolo-0{number}" for number in range(1, 10)]
    assert found["yolo-09"] == "yolo-08"
    assert list(parents("yolo-09,demo,yolo-08")) == ["yolo-08", "yolo-09", "demo"], "a parent before its children"
    with pytest.raises(BadInput, match="no experiment matches"):
        select("nothing-*", Changes())
    with pytest.raises(BadInput, match="name the experiments"):
        select(" , ", Changes())


def test_a_file_of_ones_own_is_compared_with_the_recipe_it_extends(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text("extends: study-03\nclassifiers: {b3: {dropout: 0.3}}\n")
    assert parents(f"{file},study-03") == {"mine": "study-03", "study-03": None}


def test_ancestors_come_nearest_first_over_all_that_a_file_extends():
    names = [file.stem for file in ancestors((EXPERIMENTS / "final.yaml").resolve())]
    assert names[:4] == ["study-06", "study-17", "yolo-m-final-tta", "yolo-x-final-tta"]
    assert names.index("study-05") < names.index("study-03") < names.index("study")


def test_what_is_set_of_one_kind_of_model_leaves_the_other_alone():
    changes = Changes(
        "phantom:patients=9,seed=1", [0], ("classifiers.*.size=96", "detectors.*.size=64", "seed=7"), True
    )
    classifier, detector = (one.experiment for one in select("study-02,yolo-01", changes))
    assert [model.size for model in classifier.classifiers.values()] == [96]
    assert [model.size for model in detector.detectors.values()] == [64]
    for experiment in (classifier, detector):
        assert (experiment.seed, experiment.folds.selected) == (7, (0,))
        assert experiment.data.source == "phantom:patients=9,seed=1"


def test_what_is_set_of_a_model_by_name_leaves_experiments_without_it_alone():
    changes = Changes(settings=("classifiers.b3.size=96", "classifiers.v2.size=64"))
    sizes = {one.experiment.name: one.experiment.sizes for one in select("study-02,study-13,yolo-01", changes)}
    assert sizes == {"study-02": (96,), "study-13": (64,), "yolo-01": (512,)}
    with pytest.raises(BadInput, match="there is no b4"):
        select("study-02,study-13", Changes(settings=("classifiers.b4.size=96",)))
