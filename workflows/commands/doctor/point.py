"""What a look at a cluster finds."""

from dataclasses import dataclass
from typing import Literal

State = Literal["good", "unsure", "bad"]


@dataclass(frozen=True)
class Point:
    """One thing that was looked at."""

    name: str
    state: State
    says: str
    remedy: str = ""

    def line(self) -> str:
        """For people."""
        sign = {"good": "✓", "unsure": "?", "bad": "✗"}[self.state]
        return f"{sign} {self.name}: {self.says}" + (f"\n    {self.remedy}" if self.remedy else "")
