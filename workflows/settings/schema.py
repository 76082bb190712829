"""The experiment's and the profile's models as a schema: what may stand where, and what a misspelt key meant."""

import types
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from jobs.contract.exits import BadInput
from workflows.settings.tree import Node

Model = TypeVar("Model", bound=BaseModel)
Steps = tuple[str | int, ...]


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """What a type is, one by one: ``Annotated[int, …] | None`` is ``int`` and ``NoneType``."""
    if get_origin(annotation) is Annotated:
        return alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(one for part in get_args(annotation) for one in alternatives(part))
    return (annotation,)


def accepts_none(annotation: Any) -> bool:
    """Whether null is a value of its own here."""
    return type(None) in alternatives(annotation) or Any in alternatives(annotation)


def is_map(annotation: Any) -> bool:
    """Whether this is a mapping by names that the user chooses."""
    return any(get_origin(one) is dict for one in alternatives(annotation))


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model among a type's alternatives."""
    return next((one for one in alternatives(annotation) if isinstance(one, type) and issubclass(one, BaseModel)), None)


def step_into(annotation: Any, step: str | int) -> Any:
    """The type behind one step of a path; ``Any`` where the schema does not say."""
    model = model_in(annotation)
    if model is not None and step in model.model_fields:
        return model.model_fields[str(step)].annotation
    for one in alternatives(annotation):
        if get_origin(one) is dict:
            return get_args(one)[1]
        if get_origin(one) in (tuple, list):
            return get_args(one)[0]
    return Any


def type_at(model: type[BaseModel], path: Steps) -> Any:
    """The type at a path."""
    annotation: Any = model
    for step in path:
        annotation = step_into(annotation, step)
    return annotation


def without_nulls(node: Node, annotation: Any) -> Node:
    """A null takes an entry out of a mapping of names, stays where null is a value, and else means the default."""
    if isinstance(node.value, list):
        return Node([without_nulls(child, step_into(annotation, 0)) for child in node.value], node.place)
    if not isinstance(node.value, dict) or annotation is Any:
        return node
    kept = {}
    for key, child in node.value.items():
        inside = step_into(annotation, key)
        if child.value is not None or (accepts_none(inside) and not is_map(annotation)):
            kept[key] = without_nulls(child, inside)
    return Node(kept, node.place)


def validate(tree: Node, model: type[Model], what: str) -> Model:
    """Build a model from a tree.

    Args:
        tree: the values, with their places.
        model: the model's class.
        what: what it is, for the message's first line.

    Raises:
        BadInput: naming all mistakes at once, each with file, line and, for an unknown key, the nearest valid one.
    """
    pruned = without_nulls(tree, model)
    try:
        return model.model_validate(pruned.plain())
    except ValidationError as error:
        problems = error.errors()
        causes = [one for one in problems if not any(_within(other["loc"], one["loc"]) for other in problems)]
        lines = dict.fromkeys(_explain(problem, pruned, model) for problem in causes)
        count = "a mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
        raise BadInput("\n  ".join([f"{count} in {what}:", *lines])) from error


def _within(inner: Steps, outer: Steps) -> bool:
    """Whether a place lies deeper in another: a wrong entry makes the list around it wrong, too, which says nothing."""
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def nearest(word: str, words: Iterator[str] | list[str]) -> str | None:
    """The word that was probably meant."""
    return next(iter(get_close_matches(word, list(words), n=1, cutoff=0.6)), None)


def _explain(problem: Any, tree: Node, model: type[BaseModel]) -> str:
    found = list(tree.along(problem["loc"]))
    path = tuple(step for step, _ in found)
    place = found[-1][1].place if found else tree.place
    name = ".".join(str(step) for step in path) or "the whole"
    if problem["type"] == "extra_forbidden":
        return f"{place}: {name}: unknown key; {_advice(str(path[-1]), type_at(model, path[:-1]), model)}"
    says = problem["msg"].removeprefix("Value error, ")
    value = problem["input"]
    if problem["type"] == "missing":
        return f"{place}: {name}: {problem['loc'][-1]} is missing"
    if isinstance(value, dict | list | tuple | BaseModel):
        return f"{place}: {name}: {says}"
    return f"{place}: {name}: {says}, not {value!r}{_near_value(value, says)}"


def _near_value(value: Any, says: str) -> str:
    """A hint for a misspelt choice; pydantic lists the choices in quotes."""
    near = nearest(str(value), says.split("'")[1::2])
    return f"; did you mean {near}?" if near else ""


def _advice(key: str, annotation: Any, root: type[BaseModel]) -> str:
    here = model_in(annotation)
    valid = list(here.model_fields) if here else []
    if near := nearest(key, valid):
        return f"did you mean {near}?"
    elsewhere = [place for place in _places_of(key, root) if place]
    if elsewhere:
        return f"it belongs to {' or '.join(elsewhere)}"
    return f"valid here are {', '.join(valid)}"


def _places_of(key: str, model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Where in the schema a key of this name is valid, e.g. ``detectors.*``."""
    if key in model.model_fields:
        yield path
    for name, field in model.model_fields.items():
        many = any(get_origin(one) in (dict, tuple, list) for one in alternatives(field.annotation))
        inner = model_in(step_into(field.annotation, 0) if many else field.annotation)
        if inner is not None:
            yield from _places_of(key, inner, f"{path}.{name}".lstrip(".") + (".*" if many else ""))
