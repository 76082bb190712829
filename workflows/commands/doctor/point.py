"""The result of a check."""

from dataclasses import dataclass
from typing import Literal

State = Literal["good", "unsure", "bad"]


@dataclass(frozen=True)
class Point:
    """The result of one check."""

    name: str
    state: State
    says: str
    remedy: str = ""

    def line(self) -> str:
        """The text that ``doctor`` prints."""
        sign = {"good": "✓", "unsure": "?", "bad": "✗"}[self.state]
        return f"{sign} {self.name}: {self.says}" + (f"\n    {self.remedy}" if self.remedy else "")
