"""One YAML document as nodes, with bounds on its depth and size, and its scalars as plain values.

PyYAML's own functions crash the process on deep nesting and fill the memory with aliases of aliases, so the events of
the parser are counted before a node is built. The C parser is some ten times faster, and part of all wheels.
"""

import math
from typing import Any, Final

import yaml

from jobs.contract.exits import BadInput

LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DEEPEST: Final = 64  # levels; an experiment has 7, a manifest about 15
MOST_NODES: Final = 50_000  # keys and values, with every alias counted as what it stands for
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"


def compose(text: str, file: str) -> yaml.Node | None:
    """Return the root node of one YAML document; None for an empty one.

    Args:
        text: the document.
        file: its name in error messages.

    Raises:
        BadInput: it is not valid YAML, too deep or too large, or an alias lies within its own anchor.
    """
    try:
        _check_bounds(text, file)
        loader = LOADER(text)
        try:
            root: yaml.Node | None = loader.get_single_node()
            return root
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadInput(f"{file}:{line}: not valid YAML: {error.problem}") from error
    except yaml.reader.ReaderError as error:
        line = text.encode().count(b"\n", 0, error.position) + 1
        raise BadInput(
            f"{file}:{line}: not valid YAML: the character #x{error.character:04x} is not allowed; remove it"
        ) from error


def scalar(node: yaml.ScalarNode, location: str) -> str | int | float | bool | None:
    """Return the value of a scalar. A date stays text, as in YAML 1.2 and Kubernetes.

    Raises:
        BadInput: the text is no value of its type, e.g. ``!!int abc``, or a number of thousands of digits.
    """
    if node.tag == _TIMESTAMP:
        return str(node.value)
    try:
        value = yaml.constructor.SafeConstructor().construct_object(node)
        str(value)  # Python refuses to print integers of thousands of digits
    except (ValueError, yaml.MarkedYAMLError) as error:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        raise BadInput(f"{location}: {clipped(node.value)} is no valid value of the type {kind}") from error
    if isinstance(value, float) and not math.isfinite(value):
        raise BadInput(f"{location}: {node.value} is not finite; write a number")
    if not isinstance(value, str | int | float | None) or (isinstance(value, str) and "\0" in value):
        raise BadInput(f"{location}: {clipped(repr(node.value))} is binary; write text, a number, true, false or null")
    return value


def clipped(text: str, length: int = 80) -> str:
    """Return a text with at most so many characters, for messages."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _check_bounds(text: str, file: str) -> None:
    """Count depth and nodes, event by event, without building anything."""
    total = 0
    open_nodes: list[tuple[str | None, int]] = []  # of each open collection: its anchor and the total at its start
    sizes: dict[str, int] = {}  # anchor → number of nodes that an alias of it stands for
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in (anchor for anchor, _ in open_nodes):
                raise BadInput(f"{_at(event, file)}: *{event.anchor} lies within the value that it names; write it out")
            total += sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
        elif isinstance(event, yaml.CollectionStartEvent):
            total += 1
            open_nodes.append((event.anchor, total))
            if len(open_nodes) > DEEPEST:
                raise BadInput(f"{_at(event, file)}: nested more than {DEEPEST} levels deep; flatten it")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = total - before + 1
        if total > MOST_NODES:
            raise BadInput(f"{_at(event, file)}: more than {MOST_NODES:,} keys and values; is it the right file?")


def _at(event: yaml.Event, file: str) -> str:
    return f"{file}:{event.start_mark.line + 1 if event.start_mark else 1}"
