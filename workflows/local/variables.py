"""Substitute Argo's ``{{…}}`` tags. A name without a value is an error, never an empty string."""

import re
from collections.abc import Mapping

from jobs.contract.exits import BadInput

_TAG = re.compile(r"{{\s*(.*?)\s*}}")


def substitute(text: str, values: Mapping[str, str], place: str) -> str:
    """Return the text with each ``{{name}}`` replaced by its value.

    Args:
        text: the text.
        values: the value of each name.
        place: the field's path, for messages.

    Raises:
        BadInput: a name has no value, or the text has an expression tag (``{{=…}}``).
    """

    def value(match: "re.Match[str]") -> str:
        name = match.group(1)
        if name in values:
            return values[name]
        if name.startswith("="):
            raise BadInput(f"{place}: the local engine does not support expression tags: {match.group()}")
        raise BadInput(f"{place}: {match.group()} has no value")

    return _TAG.sub(value, text)
