"""Whether a run differs from its parent by more than noise: asked of ``python -m jobs compare``, which needs pandas."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workflows.study.collect import Entry

ROOT: Final = Path(__file__).parents[2]
AT_ONCE: Final = 2
NOT_INSTALLED: Final = "not compared: pip install cxrfold[jobs]"


@dataclass(frozen=True)
class Difference:
    """A run's score less its parent's, on the folds both have, patient by patient.

    Attributes:
        parent: the run compared with.
        figure: the widest figure that both give.
        value: the difference.
        low: the lower end of its interval over patients.
        high: the upper.
        p: two-sided probability of a difference this far on the other side of nothing.
        beyond_noise: whether the interval leaves out 0.
        why: why there is no difference; all numbers are None then.
    """

    parent: str
    figure: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    beyond_noise: bool | None = None
    why: str = ""


def differences(entries: Sequence[Entry]) -> dict[str, Difference]:
    """Run → its difference from its parent, for each run that has one. The environment names the store."""
    scored = {entry.run for entry in entries if entry.score is not None}
    pairs = {entry.run: entry.studied.parent for entry in entries if entry.run in scored and entry.studied.parent}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda run: _difference(run, pairs[run], scored), pairs)
        return dict(zip(pairs, found, strict=True))


def _difference(run: str, parent: str, scored: set[str]) -> Difference:
    if parent not in scored:
        return Difference(parent, why=f"{parent} has no score")
    if importlib.util.find_spec("pandas") is None:
        return Difference(parent, why=NOT_INSTALLED)
    command = [sys.executable, "-m", "jobs", "compare", "--runs", f"{parent},{run}", "--json"]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if asked.returncode:
        return Difference(parent, why=(asked.stderr.strip().splitlines() or ["not compared"])[-1])
    said = json.loads(asked.stdout)
    around = said["interval"]
    return Difference(
        parent, said["figure"], said["difference"], around["low"], around["high"], said["p"], said["beyond_noise"]
    )
