"""Argo's ``{{…}}``: names replaced with their values. A name without a value is an error, never an empty text."""

import re
from collections.abc import Mapping

from jobs.contract.exits import BadInput

_TAG = re.compile(r"{{\s*(.*?)\s*}}")


def substitute(text: str, values: Mapping[str, str], place: str) -> str:
    """The text with each ``{{name}}`` replaced.

    Raises:
        BadInput: for a name that has no value, and for Argo's expression tags (``{{=…}}``).
    """

    def value(match: "re.Match[str]") -> str:
        name = match.group(1)
        if name in values:
            return values[name]
        if name.startswith("="):
            raise BadInput(f"{place}: the local engine does not evaluate expression tags: {match.group()}")
        raise BadInput(f"{place}: {match.group()} has no value")

    return _TAG.sub(value, text)
