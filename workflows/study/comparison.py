"""Compare runs with their parents, by running ``python -m jobs compare``, which needs pandas."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from workflows.study.collect import LogEntry
from workflows.study.seeds import same_training, seed_ranges

ROOT: Final = Path(__file__).parents[2]
PROCESSES: Final = 2  # each holds the predictions of two runs in memory
NOT_INSTALLED: Final = "not compared: pip install cxrfold[jobs]"


@dataclass(frozen=True)
class Comparison:
    """A run's score minus its parent's, on the folds that both have, paired by patient.

    Attributes:
        parent: the run compared with.
        figure: the widest figure that both runs have.
        value: the difference.
        low: lower end of its 95 % interval over patients.
        high: upper end.
        p: two-sided bootstrap p-value of the difference.
        beyond_noise: whether the interval excludes 0.
        seeds: range of this figure over seeds of one setting; 0 if both runs share every training, None if the study
            has no setting with several seeds.
        patients: number of patients on the folds that both have.
        folds: those folds.
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
    patients: int | None = None
    folds: tuple[int, ...] = ()
    why: str = ""

    @property
    def within_noise(self) -> bool:
        """Whether another sample of patients, or another seed as far as seeds were tried, could reverse it."""
        return not self.beyond_noise or self.value is None or abs(self.value) <= (self.seeds or 0.0)

    @property
    def over(self) -> str:
        """What the difference is computed on, e.g. ``48 patients of folds 0, 2``; empty without a difference."""
        folds = f"fold{'s' if len(self.folds) > 1 else ''} {', '.join(map(str, self.folds))}"
        return f"{self.patients} patients of {folds}" if self.patients is not None else ""

    @property
    def verdict(self) -> str:
        """The conclusion as text, or why there is no difference."""
        if self.value is None:
            return self.why
        if not self.beyond_noise:
            return "within noise"
        if self.seeds is None:
            return "more than patients' noise; seeds not tried"
        return "more than patients' noise; a seed does as much" if self.within_noise else "more than noise"


def compare_with_parents(entries: Sequence[LogEntry]) -> dict[str, Comparison]:
    """Run → its comparison with its parent, for each run that has a parent. The environment names the store."""
    scored = {entry.run: entry.studied.experiment for entry in entries if entry.score is not None}
    pairs = {entry.run: entry.studied.parent for entry in entries if entry.run in scored and entry.studied.parent}
    ranges = seed_ranges(entries)

    def with_seeds(run: str) -> Comparison:
        comparison = _compare(run, pairs[run], scored)
        if comparison.value is None:
            return comparison
        same = same_training(scored[run], scored[comparison.parent])
        return replace(comparison, seeds=0.0 if same else ranges.get(comparison.figure))

    with ThreadPoolExecutor(PROCESSES) as pool:
        return dict(zip(pairs, pool.map(with_seeds, pairs), strict=True))


def _compare(run: str, parent: str, scored: Collection[str]) -> Comparison:
    if parent not in scored:
        return Comparison(parent, why=f"{parent} has no score")
    if importlib.util.find_spec("pandas") is None:
        return Comparison(parent, why=NOT_INSTALLED)
    command = [sys.executable, "-m", "jobs", "compare", "--runs", f"{parent},{run}", "--json"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if process.returncode:
        return Comparison(parent, why=(process.stderr.strip().splitlines() or ["not compared"])[-1])
    result = json.loads(process.stdout)
    interval = result["interval"]
    return Comparison(
        parent,
        result["figure"],
        result["difference"],
        interval["low"],
        interval["high"],
        result["p"],
        result["beyond_noise"],
        patients=result["patients"],
        folds=tuple(result["folds"]),
    )
