"""Whether a run differs from its parent by more than noise: asked of ``python -m jobs compare``, which needs pandas."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from workflows.study.collect import Entry
from workflows.study.seeds import same_training, seeds_apart

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
        seeds: how far apart seeds of one setting score in this figure; 0 where both share every training, None where
            the study has no two seeds of one setting.
        why: why there is no difference; all numbers are None then.
    """

    parent: str
    figure: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    beyond_noise: bool | None = None
    seeds: float | None = None
    why: str = ""

    @property
    def within_noise(self) -> bool:
        """Whether another choice of patients, or another seed as far as that is known, could undo it."""
        return not self.beyond_noise or self.value is None or abs(self.value) <= (self.seeds or 0.0)

    @property
    def verdict(self) -> str:
        """In words, or why there is none."""
        if self.value is None:
            return self.why
        if not self.beyond_noise:
            return "within noise"
        if self.seeds is None:
            return "more than patients' noise; seeds not tried"
        return "more than patients' noise; a seed does as much" if self.within_noise else "more than noise"


def differences(entries: Sequence[Entry]) -> dict[str, Difference]:
    """Run → its difference from its parent, for each run that has one. The environment names the store."""
    scored = {entry.run: entry.studied.experiment for entry in entries if entry.score is not None}
    pairs = {entry.run: entry.studied.parent for entry in entries if entry.run in scored and entry.studied.parent}
    apart = seeds_apart(entries)

    def found(run: str) -> Difference:
        one = _difference(run, pairs[run], scored)
        if one.value is None:
            return one
        same = same_training(scored[run], scored[one.parent])
        return replace(one, seeds=0.0 if same else apart.get(one.figure))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(pairs, pool.map(found, pairs), strict=True))


def _difference(run: str, parent: str, scored: Collection[str]) -> Difference:
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
