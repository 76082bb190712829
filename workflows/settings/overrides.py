"""``--set a.b=c``: values laid over an experiment. ``*`` stands for every model, or every item of a list.

An overlay is a file of the same: one path and value a line. There a path may end in ``?``: only where the recipe gives
a value.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from jobs.contract.exits import BadInput
from workflows.settings.schema import is_map, nearest, step_into
from workflows.settings.tree import Node, parse, wrap


@dataclass(frozen=True)
class Override:
    """A value for every place that a path names."""

    path: tuple[str, ...]
    value: Node
    only_given: bool = False  # leave alone what has no value
    may_miss: bool = False  # a path that names nothing is no mistake

    @property
    def place(self) -> str:
        """Where the override was written."""
        return self.value.place


def parse_setting(text: str) -> Override:
    """``classifiers.*.size=64``; the value is YAML, so lists and mappings work: ``stages=[{lr: 1e-3, epochs: 2}]``.

    Raises:
        BadInput: where there is no ``=``, or the value is no YAML.
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip("."):
        raise BadInput(f"--set {text}: write it as path=value, e.g. --set classifiers.*.size=256")
    place = f"--set {text}"
    return Override(tuple(path.strip().split(".")), wrap(parse(value, place).plain() if value else None, place))


def parse_overlay(tree: Node) -> list[Override]:
    """The overrides of an overlay file: a mapping of paths to values."""
    return [
        Override(tuple(path.removesuffix("?").split(".")), value, only_given=path.endswith("?"), may_miss=True)
        for path, value in tree.value.items()
    ]


def apply(tree: Node, override: Override, model: type[BaseModel]) -> Node:
    """The tree with the override's value in every place its path names.

    Raises:
        BadInput: where the path names a model that is not there, or nothing at all.
    """
    changed, count = _assign(tree, override, override.path, model)
    if count == 0 and not override.may_miss:
        raise BadInput(f"{override.place}: the path matches nothing in this experiment")
    return changed


def _assign(node: Node, override: Override, path: tuple[str, ...], annotation: Any) -> tuple[Node, int]:
    if not path:
        skip = override.only_given and node.value is None
        return (node, 0) if skip else (override.value, 1)
    head, rest = path[0], path[1:]
    if isinstance(node.value, list):
        return _assign_in_list(node, override, path, annotation)
    children: dict[str, Node] = dict(node.value) if isinstance(node.value, dict) else {}
    if head == "*":
        keys = list(children)
    else:
        if is_map(annotation) and rest and head not in children:
            raise BadInput(f"{override.place}: {_no_such(head, children)}")
        keys = [head]
    total = 0
    for key in keys:
        child = children.get(key, Node(None, override.place))
        children[key], count = _assign(child, override, rest, step_into(annotation, key))
        total += count
    return (Node(children, node.place), total) if total else (node, 0)


def _assign_in_list(node: Node, override: Override, path: tuple[str, ...], annotation: Any) -> tuple[Node, int]:
    head, rest = path[0], path[1:]
    items = list(node.value)
    if head != "*" and not (head.isdigit() and int(head) < len(items)):
        raise BadInput(
            f"{override.place}: {head} is no item of a list of {len(items)}; write 0 to {len(items) - 1}, or *"
        )
    total = 0
    for index in range(len(items)) if head == "*" else [int(head)]:
        items[index], count = _assign(items[index], override, rest, step_into(annotation, index))
        total += count
    return Node(items, node.place), total


def _no_such(name: str, there: dict[str, Node]) -> str:
    near = nearest(name, list(there))
    hint = f"did you mean {near}?" if near else f"there are {', '.join(there) or 'none'}"
    return f"{name} is not there; {hint}"
