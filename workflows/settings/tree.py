"""A tree of YAML values that keep their file and line, so that an error message can point to the line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from jobs.contract.exits import BadInput
from workflows.settings.yaml_loader import clipped, compose, scalar


@dataclass(frozen=True)
class YamlValue:
    """A value and its location.

    Attributes:
        value: a scalar, a list of these objects, or a dict of them by key.
        location: ``FILE:LINE``, or the command-line option that gave the value.
    """

    value: Any
    location: str

    def plain(self) -> Any:
        """Return the value without locations."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def along(self, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, "YamlValue"]]:
        """Yield the steps of a path that exist, each with its value.

        Steps that do not exist are skipped: pydantic adds the names of union members to its paths.
        """
        node = self
        for step in path:
            inside = isinstance(node.value, dict) and step in node.value
            inside |= isinstance(node.value, list) and isinstance(step, int) and step < len(node.value)
            if inside:
                node = node.value[step]
                yield step, node


def parse(text: str, file: str) -> YamlValue:
    """Parse one YAML document.

    Args:
        text: the document; an empty one is an empty mapping.
        file: its name in error messages.

    Raises:
        BadInput: it is not valid YAML, too deep or too large, a value does not fit its type, or a mapping has a key
            twice.
    """
    root = compose(text, file)
    return YamlValue({}, f"{file}:1") if root is None else _convert(root, file, root.start_mark.line)


def load_yaml(text: str, file: str) -> Any:
    """Return the plain values of one YAML document; raises as :func:`parse` does."""
    return parse(text, file).plain()


def wrap(value: Any, location: str) -> YamlValue:
    """Return plain values as a tree in which every value has the same location."""
    if isinstance(value, dict):
        return YamlValue({str(key): wrap(child, location) for key, child in value.items()}, location)
    if isinstance(value, list | tuple):
        return YamlValue([wrap(child, location) for child in value], location)
    return YamlValue(value, location)


def merge(base: YamlValue, over: YamlValue) -> YamlValue:
    """Merge two trees: mappings key by key; a list, scalar or null of ``over`` replaces the value of ``base``."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, child in over.value.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    return YamlValue(merged, over.location)


def shown(path: Path) -> str:
    """Return a path for messages: relative to the working directory if it lies below it."""
    folder = Path.cwd()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _convert(node: yaml.Node, file: str, line: int) -> YamlValue:
    location = f"{file}:{line + 1}"
    if isinstance(node, yaml.SequenceNode):
        return YamlValue([_convert(child, file, child.start_mark.line) for child in node.value], location)
    if isinstance(node, yaml.ScalarNode):
        return YamlValue(scalar(node, location), location)
    values: dict[str, YamlValue] = {}
    for key, child in node.value:
        name, at = key.value, key.start_mark.line
        if not isinstance(name, str):
            raise BadInput(f"{file}:{at + 1}: a key must be text, not a list or mapping")
        if name in values:
            raise BadInput(f"{file}:{at + 1}: the key {clipped(name)} is given twice in one mapping; remove one")
        values[name] = _convert(child, file, at)
    return YamlValue(values, location)
