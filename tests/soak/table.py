"""What came of the trials, as a table."""

from collections.abc import Iterable
from dataclasses import dataclass

COLUMNS = ("what", "tried", "survived", "equal", "longest recovery", "peak memory")


@dataclass(frozen=True)
class Outcome:
    """What came of one trial.

    Attributes:
        row: the table's row, e.g. ``KILL train-classifier``.
        tried: how many faults were put in.
        problem: what was lost, unequal, stuck or badly said; empty where nothing was.
        equal: whether the result is that of an undisturbed run.
        seconds: from the last fault until all was right again.
        memory: bytes of resident memory at the peak.
    """

    row: str
    tried: int = 1
    problem: str = ""
    equal: bool = True
    seconds: float = 0.0
    memory: int = 0

    @property
    def survived(self) -> bool:
        return not self.problem


def table(outcomes: Iterable[Outcome]) -> str:
    """Markdown: a line a row, and their sum."""
    rows: dict[str, list[Outcome]] = {}
    everything = list(outcomes)
    for outcome in everything:
        rows.setdefault(outcome.row, []).append(outcome)
    lines = [_line(name, rows[name]) for name in sorted(rows)] + [_line("all", everything)]
    head = [COLUMNS, tuple("---" if name == "what" else "---:" for name in COLUMNS)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [*head, *lines])


def _line(name: str, outcomes: list[Outcome]) -> tuple[str, ...]:
    tried = sum(outcome.tried for outcome in outcomes)
    survived = sum(outcome.tried for outcome in outcomes if outcome.survived)
    equal = sum(outcome.tried for outcome in outcomes if outcome.survived and outcome.equal)
    memory = max((outcome.memory for outcome in outcomes), default=0)
    seconds = max((outcome.seconds for outcome in outcomes), default=0.0)
    return (
        name, str(tried), str(survived), str(equal),
        f"{seconds:.1f} s" if seconds else "", f"{memory / 2**20:.0f} MiB" if memory else "",
    )  # fmt: skip
