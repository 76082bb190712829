from pathlib import Path

import pytest

from jobs.contract.exits import BadInput
from workflows.settings.files import load_experiment, load_profile


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(text)
    return file


def mistakes(file: Path, **arguments: object) -> str:
    with pytest.raises(BadInput) as caught:
        load_experiment(file, **arguments)  # type: ignore[arg-type]
    return str(caught.value)


PARENT = """
title: the parent
seed: 3
classifiers:
  b3: {batch: 8, weights: imagenet, aux: {layers: 4}, stages: [{lr: 1e-3, epochs: 12}]}
detectors:
  m: {epochs: 5}
"""


def test_a_child_is_merged_into_its_parent_key_by_key(tmp_path):
    write(tmp_path, "parent", PARENT)
    child = load_experiment(write(tmp_path, "child", "extends: parent\nclassifiers: {b3: {batch: 4}}"))
    assert child.classifiers["b3"].batch == 4
    assert child.classifiers["b3"].aux.layers == 4
    assert child.seed == 3
    assert child.name == "child"
    assert child.title == ""


def test_lists_are_replaced_not_merged(tmp_path):
    write(tmp_path, "parent", PARENT)
    text = "extends: parent\nclassifiers: {b3: {stages: [{lr: 1e-4, epochs: 1}, {lr: 1e-5, epochs: 2}]}}"
    child = load_experiment(write(tmp_path, "child", text))
    assert [stage.epochs for stage in child.classifiers["b3"].stages] == [1, 2]


def test_null_removes_a_model_restores_a_default_and_is_a_value_where_it_may_be(tmp_path):
    write(tmp_path, "parent", PARENT)
    text = "extends: parent\nseed: null\nclassifiers: {b3: {aux: null, weights: null}}\ndetectors: {m: null}"
    child = load_experiment(write(tmp_path, "child", text))
    assert child.seed == 1
    assert child.classifiers["b3"].aux is None
    assert child.classifiers["b3"].weights is None
    assert child.detectors == {}


def test_null_that_removes_nothing_is_a_mistake(tmp_path):
    write(tmp_path, "parent", PARENT)
    file = write(tmp_path, "child", "extends: parent\nclassifiers:\n  b2: null")
    assert "child.yaml:3: null deletes an inherited entry; there is no b2; known: b3" in mistakes(file)
    with pytest.raises(BadInput, match=r"there is no b2; known: b3"):
        load_experiment("study-01", ["classifiers.b2=null"])
    other = load_experiment("study-01", ["classifiers.b3=null", "classifiers.b2={size: 64}"])
    assert list(other.classifiers) == ["b2"]


def test_a_removed_model_stays_removed_for_those_who_extend_only(tmp_path):
    write(tmp_path, "parent", PARENT)
    write(tmp_path, "one", "extends: parent\ndetectors: {m: null}")
    both = load_experiment(write(tmp_path, "both", "extends: [parent, one]"))
    assert list(both.detectors) == ["m"]


def test_a_model_may_extend_a_model_of_another_file(tmp_path):
    write(tmp_path, "parent", PARENT)
    child = load_experiment(write(tmp_path, "child", "classifiers: {v2: {extends: 'parent#classifiers.b3', batch: 2}}"))
    assert (child.classifiers["v2"].batch, child.classifiers["v2"].aux.layers) == (2, 4)


def test_all_mistakes_are_told_at_once_with_file_line_and_nearest_key(tmp_path):
    file = write(tmp_path, "bad", "sed: 2\nclassifiers:\n  b3:\n    bacth: 8\n    optimizer: madgard\n    size: 500\n"
                           "    stages: [{lr: fast, epochs: 1}]\n")  # fmt: skip
    says = mistakes(file)
    assert "5 mistakes" in says
    assert "bad.yaml:1: sed: unknown key; did you mean seed?" in says
    assert "bad.yaml:4: classifiers.b3.bacth: unknown key; did you mean batch?" in says
    assert "bad.yaml:5: classifiers.b3.optimizer" in says
    assert "did you mean madgrad?" in says
    assert "bad.yaml:6: classifiers.b3.size" in says
    assert "bad.yaml:7: classifiers.b3.stages.0.lr" in says


def test_a_mistake_in_a_parent_is_shown_in_the_parents_file(tmp_path):
    write(tmp_path, "parent", "classifiers:\n  b3:\n    batsh: 8\n")
    assert "parent.yaml:3" in mistakes(write(tmp_path, "child", "extends: parent\n"))


def test_a_key_in_the_wrong_place_is_told_where_it_belongs(tmp_path):
    assert "it is a key of detectors.*" in mistakes(write(tmp_path, "bad", "mosaic: 0.2\nclassifiers: {b3: {}}"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: bad\nseed: 1: 2", "bad.yaml:2: not valid YAML"),
        ("seed: 1\nseed: 2", "bad.yaml:2: the key seed is given twice in one mapping"),
        ("- 1", "expected a mapping of keys to values"),
        ("extends: nothing-there", "bad.yaml:1: extends nothing-there"),
        ("extends: bad", "extends itself"),
        ("classifiers: {b3: {extends: 'study-01#classifiers.v9'}}", "study-01 has no classifiers.v9"),
    ],
)
def test_broken_files_are_refused_with_their_line(tmp_path, text, says):
    assert says in mistakes(write(tmp_path, "bad", text))


def test_an_unknown_recipe_is_told_the_nearest(tmp_path):
    assert "did you mean study-12?" in mistakes(Path("study-121"))


def test_overrides_reach_every_model_and_every_stage():
    changed = load_experiment("study-06", ["classifiers.*.stages.*.epochs=2", "classifiers.*.size=64", "seed=9"])
    assert [stage.epochs for stage in changed.classifiers["b3"].stages] == [2, 2]
    assert (changed.classifiers["b3"].size, changed.seed) == (64, 9)


def test_overrides_take_yaml_values():
    changed = load_experiment("study-01", ["classifiers.b3.stages=[{lr: 1e-2, epochs: 3}]", "classifiers.b3.aux=null"])
    assert changed.classifiers["b3"].stages[0].lr == 0.01
    assert changed.classifiers["b3"].aux is None


def test_an_override_may_go_into_what_was_null():
    changed = load_experiment("study-01", ["classifiers.b3.aux=null", "classifiers.b3.aux.layers=3"])
    assert changed.classifiers["b3"].aux.layers == 3


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("classifiers.b4.size=64", "there is no b4; known: b3"),
        ("detectors.*.size=64", "matches nothing"),
        ("classifiers.b3.stages.5.lr=1", "a list of 1 has no item 5"),
        ("classifiers.b3.sise=64", "did you mean size?"),
        ("nonsense", "write it as path=value"),
    ],
)
def test_wrong_overrides_are_named(override, says):
    told = mistakes(Path("study-01"), overrides=[override])
    assert says in told
    assert f"--set {override}" in told


def test_data_and_folds_replace_the_recipes_own():
    changed = load_experiment("study-01", data="s3://films/train", folds=[0, 4])
    assert (changed.data.source, changed.folds.selected) == ("s3://films/train", (0, 4))


def test_folds_beyond_the_count_are_refused():
    assert "0 to 4" in mistakes(Path("study-01"), folds=[7])


def test_profiles_load_like_experiments(tmp_path):
    assert load_profile("local").gpu.allow_cpu
    assert load_profile(None).name == "default"
    with pytest.raises(BadInput, match=r"mine.yaml:2: gpu.allow_cqu: unknown key; did you mean allow_cpu"):
        load_profile(write(tmp_path, "mine", "extends: spot\ngpu: {allow_cqu: true}"))
