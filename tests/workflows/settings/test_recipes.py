"""Every recipe against the author's log."""

import csv
import re

import pytest

from jobs.contract.experiment import Classifier, Detector, Experiment, training_settings
from jobs.contract.needs.pretrained import architecture_of
from workflows.settings.files import list_recipes, load_experiment
from workflows.settings.overrides import parse_overlay
from workflows.settings.recipes import EXPERIMENTS
from workflows.settings.schema import model_in, type_at
from workflows.settings.tree import parse
from workflows.study.selection import ancestors

RECIPES = {recipe.name: recipe for recipe in list_recipes()}
LOG = list(csv.DictReader((EXPERIMENTS / "study_log.csv").read_text(encoding="utf-8").splitlines()))
BACKBONES = {"effb3": "tf_efficientnet_b3", "effv2": "tf_efficientnetv2_s"}


def only_model(recipe: Experiment) -> Classifier | Detector:
    (model,) = [*recipe.classifiers.values(), *recipe.detectors.values()]
    return model


def rows(kind: str) -> list[dict[str, str]]:
    return [row for row in LOG if row["recipe"].startswith(kind) and row["net"]]


def described(row: dict[str, str]) -> str:
    return f"{row['recipe']}-fold-{row['fold'] or 'any'}"


def test_every_row_of_the_log_has_a_recipe_and_no_recipe_is_without_reason():
    beyond = {"demo", "final", "final-plus", "yolo-m-final-tta", "yolo-x-final-tta"}
    assert {row["recipe"] for row in LOG} | beyond == set(RECIPES)


@pytest.mark.parametrize("row", LOG, ids=described)
def test_a_row_has_a_number_and_its_unit(row):
    assert bool(row["score"]) == bool(row["unit"])
    assert row["unit"] in ("", "map4*40/6", "map4*4/6", "film2*2/3", "opacity")


@pytest.mark.parametrize("row", rows("study"), ids=described)
def test_classifier_recipes_say_what_the_log_says(row):
    recipe = RECIPES[row["recipe"]]
    model = only_model(recipe)
    assert isinstance(model, Classifier)
    assert model.backbone == BACKBONES[row["net"].split()[0]]
    assert [stage.lr for stage in model.stages] == [float(lr) for lr in row["learning_rate"].split("+")]
    assert all(stage.epochs == int(row["epochs"]) for stage in model.stages)
    assert model.batch == int(row["batch"])
    assert model.optimizer == row["optimizer"]
    assert model.inference_size == int(row["size"])
    assert model.aux is not None
    assert model.aux.layers == (4 if "four layers" in row["net"] else 2)
    assert model.dropout == (0.5 if "0.5 dropout" in row["net"] else 0)
    assert model.drop_path == (0.4 if "0.4 path dropout" in row["net"] else 0)
    assert model.augment == ("hard" if "hard augment" in row["net"] else "basic")
    film = "opacity and none" in row["remark"]
    assert model.head == ("joint6" if film else "study4")
    assert model.loss_on == ("film" if "only the loss" in row["remark"] else "all")
    if row["fold"]:
        assert int(row["fold"]) in recipe.folds.selected


@pytest.mark.parametrize("row", rows("yolo"), ids=described)
def test_detector_recipes_say_what_the_log_says(row):
    recipe = RECIPES[row["recipe"]]
    model = only_model(recipe)
    assert isinstance(model, Detector)
    assert model.model == f"yolov5{row['net']}u"
    if row["size"]:
        assert model.size == int(row["size"])
    if row["epochs"]:
        assert model.epochs == int(row["epochs"])
    if row["batch"]:
        assert model.batch == int(row["batch"])
    if "no mixup" in row["remark"]:
        assert model.mixup == 0
    if "final" not in row["recipe"]:
        for word, value in (("mosaic", model.mosaic), ("mixup(?: of only)?", model.mixup)):
            if number := re.search(rf"(?<!no ){word} ([\d.]+)", row["remark"]):
                assert value == float(number.group(1).rstrip("."))
    if row["fold"]:
        assert int(row["fold"]) in recipe.folds.selected


@pytest.mark.parametrize("name", sorted({row["recipe"] for row in LOG}))
def test_the_folds_are_the_logs_and_inferred_only_where_it_names_none(name):
    named = {int(row["fold"]) for row in LOG if row["recipe"] == name and row["fold"]}
    recipe = RECIPES[name]
    if named:
        assert set(recipe.folds.selected) == named
    assert ("folds.run" in recipe.inferred) == (not named)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_what_is_inferred_is_a_field_with_a_reason(recipe):
    for field, reason in recipe.inferred.items():
        steps = tuple(0 if step == "*" else step for step in field.split("."))
        parent = model_in(type_at(Experiment, steps[:-1]))
        assert parent is not None
        assert steps[-1] in parent.model_fields, field
        assert len(reason) > 20


CHANGES = {
    "study-02": ("study-01", {"stages"}),
    "study-03": ("study-02", {"optimizer"}),
    "study-04": ("study-03", set()),  # the tracker, which is no model's
    "study-05": ("study-03", set()),  # the folds
    "study-06": ("study-05", {"stages"}),
    "study-07": ("study-05", {"aux", "stages", "batch"}),
    "study-08": ("study-05", {"head", "stages"}),
    "study-09": ("study-08", {"stages"}),
    "study-10": ("study-08", {"stages"}),
    "study-11": ("study-10", {"loss_on"}),
    "study-12": ("study-11", {"stages"}),
    "study-13": ("study-05", {"backbone", "stages", "weights"}),
    "study-14": ("study-13", {"stages"}),
    "study-15": ("study-14", {"dropout"}),
    "study-16": ("study-13", {"inference"}),
    "study-17": ("study-13", {"dropout", "drop_path", "augment", "stages", "batch"}),
    "study-2class": ("study-12", {"head", "loss_on", "patience"}),
    "yolo-02": ("yolo-01", {"model", "weights"}),
    "yolo-03": ("yolo-02", {"size"}),
    "yolo-04": ("yolo-01", {"model", "weights"}),
    "yolo-05": ("yolo-04", {"epochs", "mixup"}),
    "yolo-06": ("yolo-02", {"evolve"}),
    "yolo-07": ("yolo-02", {"epochs", "batch", "mixup"}),
    "yolo-08": ("yolo-04", {"epochs", "batch", "mosaic", "mixup", "degrees", "shear", "scale"}),
    "yolo-09": ("yolo-08", {"mosaic", "mixup", "degrees", "shear", "scale"}),
    "yolo-10": ("yolo-09", {"degrees", "shear", "scale"}),
    "yolo-m-final": ("yolo-02", set()),
    "yolo-m-final-tta": ("yolo-m-final", {"inference"}),
    "yolo-x-final": ("yolo-08", set()),
    "yolo-x-final-tta": ("yolo-x-final", {"inference"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_recipe_differs_from_its_parent_only_in_what_the_row_changes(name):
    parent, fields = CHANGES[name]
    assert next(ancestors(EXPERIMENTS / f"{name}.yaml")) == EXPERIMENTS / f"{parent}.yaml"
    child, above = only_model(RECIPES[name]).model_dump(), only_model(RECIPES[parent]).model_dump()
    assert {key for key in child if child[key] != above.get(key)} == fields


def test_the_final_ensemble_shares_its_trainings_with_the_recipes_it_names():
    final = RECIPES["final"]
    for name, recipe in (("b3", "study-06"), ("v2", "study-17")):
        assert training_settings(final.classifiers[name]) == training_settings(only_model(RECIPES[recipe]))
    for name, recipe in (("yolo-m", "yolo-m-final"), ("yolo-x", "yolo-x-final")):
        assert training_settings(final.detectors[name]) == training_settings(only_model(RECIPES[recipe]))
    shared = ("seed", "folds", "data")
    assert all(getattr(final, field) == getattr(RECIPES["study-06"], field) for field in shared)


def test_final_plus_has_what_the_winners_had_and_leaves_the_final_as_it_is():
    plus, final = RECIPES["final-plus"], RECIPES["final"]
    assert {model.backbone for model in plus.classifiers.values()} == {
        "tf_efficientnet_b3", "tf_efficientnet_b5", "tf_efficientnetv2_s", "tf_efficientnetv2_l"
    }  # fmt: skip
    assert plus.none_sources == ("boxes", "negative", "film2")
    assert all(model.inference.tta == "flip" and model.ema for model in plus.classifiers.values())
    assert all(model.inference.tta for model in plus.detectors.values())
    assert all(model.weights for model in plus.models.values())
    assert (plus.data.siblings, plus.ensemble.search) == ("drop", "greedy")
    for name, detector in final.detectors.items():
        assert training_settings(plus.detectors[name]) == training_settings(detector)
    assert (final.data.siblings, final.ensemble.search, len(final.models)) == ("keep", "none", 4)


def test_the_detectors_of_the_log_gather_films_to_a_step_as_yolov5_did():
    for name, recipe in RECIPES.items():
        if name.startswith("yolo-"):
            (detector,) = recipe.detectors.values()
            assert (detector.nominal_batch, detector.warmup_batches) == (64, 1000)


def test_smoke_keeps_films_of_ones_own(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("extends: demo\ndata: {source: s3://films/train}\n")
    small = load_experiment(file, overlay="smoke")
    assert (small.data.source, small.detectors["yolo"].epochs) == ("s3://films/train", 1)
    assert load_experiment("demo", overlay="smoke").data.source == "phantom:patients=24,seed=1"


def test_smoke_changes_only_the_number_of_films_size_epochs_batch_and_the_start():
    text = (EXPERIMENTS / "overlays" / "smoke.yaml").read_text()
    changed = {change.path[-1] for change in parse_overlay(parse(text, "smoke.yaml"))}
    assert changed <= {"source", "size", "epochs", "batch", "weights"}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_smoke_leaves_what_a_recipe_exercises(name):
    small, whole = load_experiment(name, overlay="smoke"), RECIPES[name]
    assert small.data.source.startswith("phantom:")
    for kind in ("classifiers", "detectors"):
        for model, given in getattr(small, kind).items():
            real = getattr(whole, kind)[model]
            assert given.size <= 96
            assert (given.inference_size != given.size) == (real.inference_size != real.size)
            smaller = {"size", "stages", "epochs", "batch", "inference", "evolve", "weights"}
            assert given.model_dump(exclude=smaller) == real.model_dump(exclude=smaller)
            if isinstance(real, Detector):
                assert given.candidates == min(real.candidates, 2)


@pytest.mark.parametrize("name", sorted({row["recipe"] for row in LOG}))
def test_a_recipe_of_the_log_starts_from_pretrained_weights_of_its_own_architecture(name):
    for model in RECIPES[name].models.values():
        assert model.weights is not None
        assert architecture_of(model.weights) == (model.backbone if isinstance(model, Classifier) else model.model)
    assert all(model.weights is None for model in load_experiment(name, overlay="smoke").models.values())
