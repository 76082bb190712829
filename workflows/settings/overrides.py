"""Apply ``--set a.b=c`` to an experiment. ``*`` in a path matches every model, or every item of a list.

An overlay is a file of such overrides: one path and value per line. There a path may end in ``?``, which leaves
fields without a value alone.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from jobs.contract.exits import BadInput
from workflows.settings.schema import is_map, step_into, unknown_name
from workflows.settings.tree import YamlValue, parse, wrap
from workflows.settings.yaml_loader import clipped


@dataclass(frozen=True)
class Override:
    """A value for every field that a path matches.

    Attributes:
        path: the keys; ``*`` matches all.
        value: the new value.
        only_given: leave fields without a value alone.
        may_miss: accept a path that matches nothing.
    """

    path: tuple[str, ...]
    value: YamlValue
    only_given: bool = False
    may_miss: bool = False

    @property
    def location(self) -> str:
        """Where the override was given."""
        return self.value.location


def parse_setting(text: str) -> Override:
    """Parse an override such as ``classifiers.*.size=64``.

    The value is YAML, so lists and mappings work: ``stages=[{lr: 1e-3, epochs: 2}]``.

    Raises:
        BadInput: there is no ``=``, or the value is not valid YAML.
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip("."):
        raise BadInput(f"--set {clipped(text)}: write it as path=value, e.g. --set classifiers.*.size=256")
    location = f"--set {clipped(text)}"
    return Override(tuple(path.strip().split(".")), wrap(parse(value, location).plain() if value else None, location))


def parse_overlay(tree: YamlValue) -> list[Override]:
    """Return the overrides of an overlay file, which maps paths to values."""
    return [
        Override(tuple(path.removesuffix("?").split(".")), value, only_given=path.endswith("?"), may_miss=True)
        for path, value in tree.value.items()
    ]


def apply(tree: YamlValue, override: Override, model: type[BaseModel]) -> YamlValue:
    """Return the tree with the override's value in every field that its path matches.

    Raises:
        BadInput: the path names a model that does not exist, or matches nothing.
    """
    changed, count = _assign(tree, override, override.path, model)
    if count == 0 and not override.may_miss:
        raise BadInput(f"{override.location}: the path matches nothing in this experiment")
    return changed


def _assign(node: YamlValue, override: Override, path: tuple[str, ...], annotation: Any) -> tuple[YamlValue, int]:
    if not path:
        skip = override.only_given and node.value is None
        return (node, 0) if skip else (override.value, 1)
    head, rest = path[0], path[1:]
    if isinstance(node.value, list):
        return _assign_in_list(node, override, path, annotation)
    children: dict[str, YamlValue] = dict(node.value) if isinstance(node.value, dict) else {}
    if head == "*":
        keys = list(children)
    else:
        new = not rest and override.value.value is not None
        if is_map(annotation) and head not in children and not new:
            raise BadInput(f"{override.location}: {unknown_name(head, children)}")
        keys = [head]
    total = 0
    for key in keys:
        child = children.get(key, YamlValue(None, override.location))
        children[key], count = _assign(child, override, rest, step_into(annotation, key))
        total += count
    # What does not fit together around the new value is the option's mistake, not the file's.
    return (YamlValue(children, override.location), total) if total else (node, 0)


def _assign_in_list(
    node: YamlValue, override: Override, path: tuple[str, ...], annotation: Any
) -> tuple[YamlValue, int]:
    head, rest = path[0], path[1:]
    items = list(node.value)
    if head != "*" and head not in map(str, range(len(items))):
        raise BadInput(
            f"{override.location}: a list of {len(items)} has no item {clipped(head)}; use 0 to {len(items) - 1}, or *"
        )
    total = 0
    for index in range(len(items)) if head == "*" else [int(head)]:
        items[index], count = _assign(items[index], override, rest, step_into(annotation, index))
        total += count
    return YamlValue(items, override.location), total
