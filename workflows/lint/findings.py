"""What a rule is and what it reports.

A rule is a generator function that takes one subject and yields its problems. Each module of rules creates the
decorator for its kind of subject, ``rule = Rules[Experiment]()``, and marks its functions with it::

    @rule("CXR105", "warning", "make warmup smaller than epochs")
    def warmup_as_long_as_training(experiment: Experiment) -> Iterator[Problem]:
        ...
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

Level = Literal["error", "warning", "note"]
Subject = TypeVar("Subject")


class Problem(NamedTuple):
    """Where a rule is broken, and how."""

    where: str
    message: str


@dataclass(frozen=True)
class Finding:
    """A problem with the code, the level and the fix of its rule."""

    code: str
    level: Level
    where: str
    message: str
    fix: str

    def text(self) -> str:
        """Return two lines for a terminal."""
        return f"{self.code} {self.level}  {self.where}: {self.message}\n    fix: {self.fix}"


Check = Callable[[Subject], Iterator[Problem]]


@dataclass(frozen=True)
class Rule(Generic[Subject]):
    """A check with its code, level and fix."""

    code: str
    level: Level
    fix: str
    check: Check[Subject]


class Rules(Generic[Subject]):
    """The rules for one kind of subject; an instance is the decorator that adds one."""

    def __init__(self) -> None:
        self._rules: list[Rule[Subject]] = []

    def __call__(self, code: str, level: Level, fix: str) -> Callable[[Check[Subject]], Check[Subject]]:
        """Return a decorator that adds a function as a rule and leaves the function as it is."""

        def add(check: Check[Subject]) -> Check[Subject]:
            self._rules.append(Rule(code, level, fix, check))
            return check

        return add

    def __iter__(self) -> Iterator[Rule[Subject]]:
        return iter(self._rules)

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Apply every rule to a subject."""
        for rule in self._rules:
            for where, message in rule.check(subject):
                yield Finding(rule.code, rule.level, where, message, rule.fix)
