"""A hash counts only what differs from a default, so a field that is added later retrains nothing."""

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, Field, create_model

from jobs.contract.experiment import (
    Aux,
    Classifier,
    Data,
    Detector,
    DetectorInference,
    Experiment,
    Folds,
    inference_settings,
    training_settings,
)
from jobs.contract.stored.digest import digest, settings
from workflows.settings.files import list_recipes

DEFAULTS = Path(__file__).parents[3] / "golden" / "defaults.json"
RECIPES = {recipe.name: recipe for recipe in list_recipes()}


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field's type names, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


def schema() -> list[type[BaseModel]]:
    """Every model of an experiment, each before those it consists of."""
    found: list[type[BaseModel]] = [Experiment]
    for model in found:
        parts = [part for field in model.model_fields.values() for part in models_in(field.annotation)]
        found.extend(part for part in parts if part not in found)
    return found


@cache
def extended(model: type[BaseModel]) -> type[BaseModel]:
    """A later release's model: it and all models within it have one more field, with a default."""
    fields: dict[str, Any] = {"added": (str, "a default")}
    for name, field in model.model_fields.items():
        if models_in(field.annotation):
            default = rebuilt(field.get_default(call_default_factory=True))
            fields[name] = (in_later_terms(field.rebuild_annotation()), Field(default))
    return create_model(f"Later{model.__name__}", __base__=model, **fields)


def in_later_terms(annotation: Any) -> Any:
    """A field's type with every model in it replaced by the later release's."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return extended(annotation)
    if not models_in(annotation):
        return annotation
    arguments = tuple(in_later_terms(argument) for argument in get_args(annotation))
    origin = get_origin(annotation)
    return Union[arguments] if origin in (Union, UnionType) else origin[arguments]  # noqa: UP007


def rebuilt(value: Any) -> Any:
    """A value of today as the later release has it."""
    if isinstance(value, tuple):
        return tuple(rebuilt(one) for one in value)
    return extended(type(value)).model_validate(value.model_dump()) if isinstance(value, BaseModel) else value


DIGESTS: dict[str, Callable[[Experiment], Any]] = {
    "experiment": lambda experiment: experiment.hash,
    "default run": lambda experiment: experiment.default_run,
    "training": lambda experiment: [training_settings(model) for model in experiment.models.values()],
    "inference": lambda experiment: [inference_settings(model) for model in experiment.models.values()],
    "ensemble": lambda experiment: settings(experiment.ensemble, without={"min_folds"}),
    "folds": lambda experiment: settings(experiment.folds, without={"run"}),
    "data": lambda experiment: settings(experiment.data),
    "evaluation": lambda experiment: settings(experiment),
}


def test_the_later_release_differs_in_every_model_of_the_schema():
    models = schema()
    assert {model.__name__ for model in models} >= {
        "Experiment",
        "LearningStage",
        "Aux",
        "Evolve",
        "NoneRule",
        "Fusion",
    }
    later = extended(Experiment)
    for model in models:
        assert "added" in extended(model).model_fields
    tree = later.model_validate(RECIPES["demo"].model_dump()).model_dump_json()
    assert tree.count('"added"') >= 10, "nested models have the field, too"


@pytest.mark.parametrize("what", DIGESTS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_field_that_is_added_with_a_default_changes_no_hash(recipe: str, what: str):
    today = RECIPES[recipe]
    later = extended(Experiment).model_validate(today.model_dump())
    assert isinstance(later, Experiment)
    assert DIGESTS[what](later) == DIGESTS[what](today)


def test_an_added_field_that_is_used_changes_the_hash():
    later = extended(Classifier)
    assert training_settings(later(added="used")) != training_settings(later())  # type: ignore[arg-type]


def test_a_value_equal_to_its_default_hashes_like_none_at_all():
    silent = Experiment(name="tiny", detectors={"yolo": Detector()}, classifiers={"b3": Classifier()})
    spelt_out = Experiment.model_validate_json(silent.model_dump_json())
    assert spelt_out.model_fields_set > silent.model_fields_set
    assert spelt_out.hash == silent.hash
    assert settings(Classifier(aux=Aux())) == settings(Classifier()) == {}
    assert settings(Classifier(aux=None)) == {"aux": None}
    assert settings(Data(duplicates=0.98)) == {}


def test_an_inference_size_equal_to_the_training_size_hashes_like_none_at_all():
    unset, same, other = (Detector(size=512, inference=DetectorInference(size=size)) for size in (None, 512, 640))
    assert digest(inference_settings(unset)) == digest(inference_settings(same))
    assert digest(inference_settings(unset)) != digest(inference_settings(other))


def test_only_and_without_choose_fields():
    folds = Folds(count=3, run=(1,))
    assert settings(folds, only={"count"}) == settings(folds, without={"run"}) == {"count": 3}


def test_the_order_of_keys_does_not_change_a_digest():
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})


def defaults() -> dict[str, dict[str, Any]]:
    """Every field of the schema that has a default, as JSON."""
    found = {}
    for model in schema():
        fields = {name: field for name, field in model.model_fields.items() if not field.is_required()}
        silent = model.model_construct(**{name: None for name in model.model_fields if name not in fields})
        found[model.__name__] = silent.model_dump(mode="json", include=set(fields))
    return found


def test_no_default_has_changed():
    """A hash leaves defaults out, so results made with the old default and with the new one would share a name.

    A default must not change once released: add a field, or raise the version of the stages that read it. A new field
    belongs into the golden file; CXRFOLD_REGENERATE=1 writes it.
    """
    found = defaults()
    if os.environ.get("CXRFOLD_REGENERATE"):
        DEFAULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    assert found == json.loads(DEFAULTS.read_text(encoding="utf-8"))
