"""The models of experiment and profile as a schema: the type at a path, validation, and hints for misspelt keys."""

import re
import types
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from jobs.contract.exits import BadInput
from workflows.settings.tree import YamlValue
from workflows.settings.yaml_loader import clipped

Model = TypeVar("Model", bound=BaseModel)
Steps = tuple[str | int, ...]
SHOWN: Final = 20  # mistakes in one message


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union without annotations: ``int`` and ``NoneType`` for ``Annotated[int, …] | None``."""
    if get_origin(annotation) is Annotated:
        return alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(member for part in get_args(annotation) for member in alternatives(part))
    return (annotation,)


def accepts_none(annotation: Any) -> bool:
    """Return whether null is a valid value of a type."""
    return type(None) in alternatives(annotation) or Any in alternatives(annotation)


def is_map(annotation: Any) -> bool:
    """Return whether a type is a mapping whose keys the user chooses."""
    return any(get_origin(alternative) is dict for alternative in alternatives(annotation))


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model among a type's alternatives; None without one."""
    for alternative in alternatives(annotation):
        if isinstance(alternative, type) and issubclass(alternative, BaseModel):
            return alternative
    return None


def step_into(annotation: Any, step: str | int) -> Any:
    """Return the type of a field or item; ``Any`` for what the schema does not describe."""
    model = model_in(annotation)
    if model is not None and step in model.model_fields:
        return model.model_fields[str(step)].annotation
    for alternative in alternatives(annotation):
        if get_origin(alternative) is dict:
            return get_args(alternative)[1]
        if get_origin(alternative) in (tuple, list):
            return get_args(alternative)[0]
    return Any


def type_at(model: type[BaseModel], path: Steps) -> Any:
    """Return the type at a path of a model."""
    annotation: Any = model
    for step in path:
        annotation = step_into(annotation, step)
    return annotation


def without_nulls(node: YamlValue, annotation: Any) -> YamlValue:
    """Remove nulls, except where null is a valid value.

    In a mapping whose keys the user chooses, null deletes the entry; elsewhere it resets a field to its default.
    """
    if isinstance(node.value, list):
        return YamlValue([without_nulls(child, step_into(annotation, 0)) for child in node.value], node.location)
    if not isinstance(node.value, dict) or annotation is Any:
        return node
    kept = {}
    for key, child in node.value.items():
        inside = step_into(annotation, key)
        if child.value is not None or (accepts_none(inside) and not is_map(annotation)):
            kept[key] = without_nulls(child, inside)
    return YamlValue(kept, node.location)


def refuse_idle_nulls(base: YamlValue, over: YamlValue, annotation: Any) -> None:
    """Raise BadInput if ``over`` deletes an entry that ``base`` does not have: a misspelt name would stay."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return
    for key, child in over.value.items():
        if key in base.value:
            refuse_idle_nulls(base.value[key], child, step_into(annotation, key))
        elif child.value is None and is_map(annotation):
            raise BadInput(f"{child.location}: null deletes an inherited entry; {unknown_name(key, base.value)}")


def unknown_name(name: str, known: Mapping[str, YamlValue]) -> str:
    """Say that a mapping has no such entry, and which it has."""
    near = nearest(name, list(known))
    hint = f"did you mean {near}?" if near else f"known: {', '.join(known) or 'none'}"
    return f"there is no {clipped(name)}; {hint}"


def validate(tree: YamlValue, model: type[Model], what: str) -> Model:
    """Build a model from a tree.

    Args:
        tree: the values with their locations.
        model: the model's class.
        what: a name for the first line of the message.

    Raises:
        BadInput: some values are invalid; the message names all of them with file and line and, for an unknown key,
            the nearest valid alternative.
    """
    pruned = without_nulls(tree, model)
    try:
        return model.model_validate(pruned.plain())
    except ValidationError as error:
        causes = _causes(error.errors())
        lines = list(dict.fromkeys(_explain(problem, pruned, model) for problem in causes[:SHOWN]))
        more = len(causes[SHOWN:])
        count = "a mistake" if len(lines) == 1 else f"{len(lines) + more} mistakes"
        lines += [f"… and {more} more"] if more else []
        raise BadInput("\n  ".join([f"{count} in {what}:", *lines])) from error


def _causes(problems: list[Any]) -> list[Any]:
    """Leave out what follows from another problem: an invalid entry makes the list around it invalid, too."""
    outer = {problem["loc"][:length] for problem in problems for length in range(len(problem["loc"]))}
    return [problem for problem in problems if problem["loc"] not in outer]


def nearest(word: str, words: Iterator[str] | list[str]) -> str | None:
    """Return the most similar word, numbers compared without leading zeros; None if none is similar."""
    known = {_without_zeros(one): one for one in words}
    near = get_close_matches(_without_zeros(clipped(word)), known, n=1, cutoff=0.6)
    return known[near[0]] if near else None


def _without_zeros(word: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", word)


def _explain(problem: Any, tree: YamlValue, model: type[BaseModel]) -> str:
    steps = list(tree.along(problem["loc"]))
    path = tuple(step for step, _ in steps)
    location = steps[-1][1].location if steps else tree.location
    name = ".".join(clipped(str(step)) for step in path) or "the document"
    if problem["type"] == "extra_forbidden":
        return f"{location}: {name}: unknown key; {_advice(str(path[-1]), type_at(model, path[:-1]), model)}"
    message = clipped(problem["msg"].removeprefix("Value error, "), 400)
    value = problem["input"]
    if problem["type"] == "missing":
        return f"{location}: {name}: {problem['loc'][-1]} is missing"
    if isinstance(value, dict | list | tuple | BaseModel) or repr(value) in message:
        return f"{location}: {name}: {message}"
    return f"{location}: {name}: {message}, not {clipped(repr(value))}{_near_value(value, message)}"


def _near_value(value: Any, message: str) -> str:
    """Return a hint for a misspelt choice; pydantic's message lists the choices in quotes."""
    near = nearest(str(value), message.split("'")[1::2])
    return f"; did you mean {near}?" if near else ""


def _advice(key: str, annotation: Any, root: type[BaseModel]) -> str:
    here = model_in(annotation)
    valid = list(here.model_fields) if here else []
    if near := nearest(key, valid):
        return f"did you mean {near}?"
    elsewhere = [path for path in _paths_of(key, root) if path]
    if elsewhere:
        return f"it is a key of {' or '.join(elsewhere)}"
    return f"valid keys: {', '.join(valid)}"


def _paths_of(key: str, model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Yield the paths in the schema at which a key is valid, e.g. ``detectors.*``."""
    if key in model.model_fields:
        yield path
    for name, field in model.model_fields.items():
        many = any(get_origin(alternative) in (dict, tuple, list) for alternative in alternatives(field.annotation))
        inner = model_in(step_into(field.annotation, 0) if many else field.annotation)
        if inner is not None:
            yield from _paths_of(key, inner, f"{path}.{name}".lstrip(".") + (".*" if many else ""))
