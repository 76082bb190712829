"""For whom predictions work: the score of each group of patients, and whether it is lower than chance explains.

A group's score is compared with that of as many patients of the same classes, drawn from all patients whose group is
known: group labels are permuted among patients of one study class. So neither the classes' frequencies, on which an
average precision depends, nor a group's small size make it look worse. The groups of all attributes are tested
together: the corrected p-value is that of the largest deviation among all of them (Westfall and Young 1993, maxT).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from jobs.scoring.metric import Floats, Ints, MatchTable, average_precision, average_precisions, mean_ap
from jobs.scoring.statistics.intervals import AT_ONCE, Interval, bootstrap, interval, mean_over_classes

FEWEST: Final = 10  # patients in a group, and outside it, to test it
ALPHA: Final = 0.01  # chance that a run without any failing group flags one
FEWEST_PERMUTATIONS: Final = 199  # so that the least p-value is below ALPHA


@dataclass(frozen=True)
class Subgroup:
    """One group and its score.

    Attributes:
        attribute: e.g. ``manufacturer``.
        name: its value.
        patients: number of patients.
        units: number of studies and films.
        score: mean AP over the classes that have ground truth in the group.
        interval: over its patients; None with too few resamples.
        classes: class → average precision in the group; NaN without ground truth.
        expected: mean score of as many patients of the same classes; NaN where the group is not tested.
        p: probability of so low a score by chance, corrected for all tested groups; NaN where it is not tested.
    """

    attribute: str
    name: str
    patients: int
    units: Ints
    score: float
    interval: Interval | None
    classes: Mapping[str, float]
    expected: float
    p: float

    @property
    def tested(self) -> bool:
        """Whether the group is large enough to be tested."""
        return bool(np.isfinite(self.p))

    @property
    def flagged(self) -> bool:
        """Whether predictions work worse for the group than chance explains."""
        return self.tested and self.p < ALPHA


def examine(
    table: MatchTable,
    patient: Ints,
    stratum: Ints,
    members: Mapping[str, tuple[Sequence[str], Ints]],
    classes: Sequence[str],
    resamples: int,
    seed: int,
) -> list[Subgroup]:
    """Score every group and test those that are large enough.

    Args:
        table: the match table over units.
        patient: (units,) each unit's patient, numbered from 0.
        stratum: (patients,) each patient's study class, or another number that makes patients comparable.
        members: attribute → the names of its groups, and (units,) the number of each unit's group, -1 if not known.
        classes: the classes whose mean AP is the score.
        resamples: resamples of patients behind an interval, and permutations; 0: neither intervals nor tests.
        seed: of both.
    """
    tested: dict[tuple[str, int], Floats] = {}  # deviations: the observed one first, then those of the permutations
    expected: dict[tuple[str, int], float] = {}
    permutations = max(resamples, FEWEST_PERMUTATIONS) if resamples else 0
    for number, (attribute, (names, group)) in enumerate(members.items()):
        if permutations:
            rng = np.random.default_rng([seed, number])
            scores = _permuted(table, patient, stratum, names, group, classes, permutations, rng)
            for value, of_group in scores.items():
                tested[attribute, value], expected[attribute, value] = _deviations(of_group)
    largest = np.max([deviation[1:] for deviation in tested.values()], axis=0) if tested else np.zeros(0)
    found = []
    for attribute, (names, group) in members.items():
        for value, name in enumerate(names):
            key = attribute, value
            p = float("nan")
            if key in tested:
                p = float((1 + np.count_nonzero(largest >= tested[key][0])) / (1 + len(largest)))
            mean = expected.get(key, float("nan"))
            here = group == value
            found.append(_subgroup(table, patient, attribute, name, here, classes, resamples, seed, mean, p))
    return found


def _subgroup(
    table: MatchTable, patient: Ints, attribute: str, name: str, here: np.ndarray, classes: Sequence[str],
    resamples: int, seed: int, expected: float, p: float,
) -> Subgroup:  # fmt: skip
    aps = average_precisions(table, here.astype(np.float64))
    among, own = np.unique(patient[here], return_inverse=True)
    around = None
    if resamples and len(among) > 1:
        # Units outside the group become one more group, which is never drawn.
        numbers = np.full(len(patient), len(among))
        numbers[here] = own
        columns = [table.classes.index(label) for label in classes]
        samples = bootstrap(table, numbers, resamples, seed, among=np.arange(len(among)))
        around = interval(mean_over_classes(samples[:, columns]))
    return Subgroup(
        attribute, name, len(among), np.flatnonzero(here), mean_ap(aps, classes), around,
        {label: aps[label] for label in classes}, expected, p,
    )  # fmt: skip


def _permuted(
    table: MatchTable,
    patient: Ints,
    stratum: Ints,
    names: Sequence[str],
    group: Ints,
    classes: Sequence[str],
    permutations: int,
    rng: np.random.Generator,
) -> dict[int, Floats]:
    """Return the scores of the groups that are large enough: the observed one, then those of the permutations.

    The blocks that are permuted are the units of one patient in one group: a patient may have been examined by two
    machines.
    """
    pairs = np.stack([patient, group])
    blocks, block = np.unique(pairs, axis=1, return_inverse=True)
    block = block.ravel()
    of_block, known = blocks[1], np.flatnonzero(blocks[1] >= 0)
    counts = np.bincount(of_block[known], minlength=len(names))
    wanted = [number for number in range(len(names)) if min(counts[number], len(known) - counts[number]) >= FEWEST]
    if not wanted:
        return {}
    labels = np.tile(of_block, (permutations + 1, 1))
    for value in np.unique(stratum):
        own = known[stratum[blocks[0][known]] == value]
        order = rng.random((permutations, len(own))).argsort(axis=1)
        labels[1:, own] = of_block[own][order]
    grouped = table.grouped(block)
    columns = [grouped.ranked[table.classes.index(label)] for label in classes]
    longest = max((len(ranked.index) for ranked in columns), default=0)
    rows = max(1, AT_ONCE // max(longest, len(of_block), 1))
    scores = {number: np.empty(permutations + 1) for number in wanted}
    for start in range(0, permutations + 1, rows):
        for number, all_scores in scores.items():
            weights = (labels[start : start + rows] == number).astype(np.float64)
            aps = np.stack([average_precision(ranked, weights) for ranked in columns], axis=1)
            all_scores[start : start + rows] = mean_over_classes(aps)
    return scores


def _deviations(scores: Floats) -> tuple[Floats, float]:
    """Return how far below the permutations' mean each score is, in their standard deviations, and that mean."""
    by_chance = scores[1:][np.isfinite(scores[1:])]
    mean, spread = (float(by_chance.mean()), float(by_chance.std())) if len(by_chance) else (float("nan"), 0.0)
    if not spread:
        return np.zeros(len(scores)), mean
    return np.nan_to_num((mean - scores) / spread, nan=-np.inf), mean
