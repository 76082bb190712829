"""A tree of YAML values in which every value knows its file and line, so that a mistake is shown where it stands."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from jobs.contract.exits import BadInput

# The C parser is some ten times faster; PyYAML's wheels all have it.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Node:
    """A value and where it was written. ``value`` is a scalar, a list of nodes, or a dict of nodes by key."""

    value: Any
    place: str

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def along(self, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, "Node"]]:
        """The steps of a path that exist here. Those that do not (pydantic's names of alternatives) are passed over."""
        node = self
        for step in path:
            inside = isinstance(node.value, dict) and step in node.value
            inside |= isinstance(node.value, list) and isinstance(step, int) and step < len(node.value)
            if inside:
                node = node.value[step]
                yield step, node


def parse(text: str, file: str) -> Node:
    """Parse one YAML document.

    Args:
        text: the document; an empty one is an empty mapping.
        file: what to call it in messages.

    Raises:
        BadInput: where it is no YAML, or a key stands twice in one mapping.
    """
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        return Node({}, f"{file}:1") if root is None else _convert(root, loader, file, root.start_mark.line)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadInput(f"{file}:{line}: this is no YAML: {error.problem}") from error
    finally:
        loader.dispose()


def wrap(value: Any, place: str) -> Node:
    """A tree of plain values that all stand in one place."""
    if isinstance(value, dict):
        return Node({str(key): wrap(child, place) for key, child in value.items()}, place)
    if isinstance(value, list | tuple):
        return Node([wrap(child, place) for child in value], place)
    return Node(value, place)


def merge(base: Node, over: Node) -> Node:
    """``over`` laid upon ``base``: mappings are merged key by key, all else (lists, scalars, null) is replaced."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, child in over.value.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    return Node(merged, over.place)


def shown(path: Path) -> str:
    """A path as a person wants to read it: relative to where they stand, if it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _convert(node: yaml.Node, loader: Any, file: str, line: int) -> Node:
    place = f"{file}:{line + 1}"
    if isinstance(node, yaml.SequenceNode):
        return Node([_convert(child, loader, file, child.start_mark.line) for child in node.value], place)
    if not isinstance(node, yaml.MappingNode):
        return Node(loader.construct_object(node), place)
    values: dict[str, Node] = {}
    for key, child in node.value:
        name, at = str(key.value), key.start_mark.line
        if name in values:
            raise BadInput(f"{file}:{at + 1}: the key {name} stands here a second time; remove one of the two")
        values[name] = _convert(child, loader, file, at)
    return Node(values, place)
