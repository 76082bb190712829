"""Evaluate the subset of Argo's expression language that the retry expression uses.

So ``run`` retries by the expression of the workflow itself. Anything outside the subset is an error.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'[^']*')|(?P<number>-?\d+)|(?P<word>[A-Za-z_][\w.]*)|(?P<sign>&&|\|\||==|!=|[!<>()\[\],]))"
)


def evaluate(expression: str, values: Mapping[str, Any]) -> bool:
    """Whether an expression holds.

    Args:
        expression: comparisons (``==``, ``!=``, ``<``, ``>``, ``in``, ``contains``, ``matches``) of strings, numbers,
            lists, names and ``asInt(…)``, joined by ``&&``, ``||``, ``!`` and parentheses.
        values: the value of each name, e.g. ``lastRetry.exitCode``.

    Raises:
        ValueError: the expression uses anything else, or a name without a value.
    """
    parser = _Parser(expression, values)
    result = parser.either()
    parser.expect_end()
    if not isinstance(result, bool):
        raise ValueError(f"the expression gives {result!r}, neither true nor false: {expression}")
    return result


class _Parser:
    """Recursive descent that evaluates as it goes; every operand is read, as nothing here has side effects."""

    def __init__(self, expression: str, values: Mapping[str, Any]) -> None:
        self._values = values
        self._tokens: list[str] = []
        position, text = 0, expression.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise ValueError(f"cannot read the expression from here: {text[position:]}")
            self._tokens.append(match.group().strip())
            position = match.end()
        self._tokens.reverse()

    def either(self) -> Any:
        """Parse one or more alternatives."""
        result = self._both()
        while self._take("||"):
            other = self._both()
            result = _truth(result) or _truth(other)
        return result

    def expect_end(self) -> None:
        """Raise ValueError if tokens are left."""
        if self._tokens:
            raise ValueError(f"the expression should end before {self._tokens[-1]}")

    def _both(self) -> Any:
        result = self._comparison()
        while self._take("&&"):
            other = self._comparison()
            result = _truth(result) and _truth(other)
        return result

    def _comparison(self) -> Any:
        if self._take("!"):
            return not _truth(self._operand())
        left = self._operand()
        for sign, holds in _COMPARISONS.items():
            if self._take(sign):
                return holds(left, self._operand())
        return left

    def _operand(self) -> Any:
        token = self._next()
        if token == "(":  # noqa: S105 - a parenthesis, no password
            result = self.either()
            self._need(")")
            return result
        if token == "[":  # noqa: S105
            items = [self._operand()]
            while self._take(","):
                items.append(self._operand())
            self._need("]")
            return items
        if token == "asInt":  # noqa: S105
            self._need("(")
            number = int(self.either())
            self._need(")")
            return number
        if token.startswith("'"):
            return token[1:-1]
        if token.lstrip("-").isdigit():
            return int(token)
        if token not in self._values:
            raise ValueError(f"{token} has no value here; known are {', '.join(self._values)}")
        return self._values[token]

    def _next(self) -> str:
        if not self._tokens:
            raise ValueError("the expression ends too early")
        return self._tokens.pop()

    def _take(self, token: str) -> bool:
        if self._tokens and self._tokens[-1] == token:
            self._tokens.pop()
            return True
        return False

    def _need(self, token: str) -> None:
        if not self._take(token):
            raise ValueError(f"the expression lacks {token}")


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    ">": lambda a, b: bool(a > b),
    "in": lambda a, b: a in b,
    "contains": lambda a, b: b in a,
    "matches": lambda a, b: re.search(b, a) is not None,
}


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value
