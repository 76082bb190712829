# SPDX-License-Identifier: AGPL-3.0-only
"""``evolve`` of the study log's row 6: which detector to try next, given how those before it scored.

The way of mutating is that of ultralytics' ``Tuner._mutate`` (8.4): a parent is drawn from the nine best, weighted by
score; half of its genes move by a normal step within their bounds; a search that goes stale takes smaller steps; from
thirty trials on, some steps follow the covariance of the best fifth. Unlike there, a candidate is a pure function of
seed and history, so that a search is resumed by nothing but the scores of what it has trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import yaml
from numpy.typing import NDArray

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Detector

Floats = NDArray[np.float64]

PARENTS: Final = 9
STEP: Final = 0.2  # standard deviation of a mutation, as a part of the gene's range
STALE: Final = 25  # trials without a better one after which steps are four fifths as large
ENOUGH: Final = 30  # trials from which on covariance is believed; also the largest elite
ATTEMPTS: Final = 200  # the second half of them draws genes afresh


@dataclass(frozen=True)
class Gene:
    """A field that mutates: its bounds, and how far it moves compared with others."""

    field: str
    low: float
    high: float
    gain: float = 1.0
    whole: bool = False

    @property
    def resolution(self) -> float:
        """The smallest step that makes a difference."""
        return 1.0 if self.whole else 1e-5

    def constrain(self, value: float) -> float:
        """The nearest value the field may have."""
        return min(max(float(round(value, None if self.whole else 5)), self.low), self.high)


# ultralytics' bounds and gains for all of its genes that an experiment has a field for.
SPACE: Final = (
    Gene("lr", 1e-5, 1e-2),
    Gene("final_lr", 0.01, 1.0),
    Gene("momentum", 0.7, 0.98, gain=0.3),
    Gene("weight_decay", 0.0, 0.001),
    Gene("warmup", 0.0, 5.0),
    Gene("brightness", 0.0, 0.9),
    Gene("degrees", 0.0, 45.0),
    Gene("translate", 0.0, 0.9),
    Gene("scale", 0.0, 0.95),
    Gene("shear", 0.0, 10.0),
    Gene("flip", 0.0, 1.0),
    Gene("mosaic", 0.0, 1.0),
    Gene("mixup", 0.0, 1.0),
    Gene("close_mosaic", 0.0, 10.0, whole=True),
)


@dataclass(frozen=True)
class Trial:
    """A detector that was tried, and its score."""

    detector: Detector
    score: float


def candidate(start: Detector, history: Sequence[Trial], seed: int) -> Detector:
    """The detector to try next: the one the search starts from, then mutations of the best.

    Args:
        start: where the search begins; fields that are no genes stay as they are in it.
        history: what was tried, in order.
        seed: of the search.

    Raises:
        BadInput: no mutation can be found that was not tried.
    """
    if not history:
        return _detector(start, _values(start))
    rng = np.random.default_rng([seed, len(history)])
    tried = np.array([_values(trial.detector) for trial in history])
    scores = np.array([trial.score for trial in history])
    known = {tuple(values) for values in tried}
    propose = _Proposals(_normalised(tried), scores, rng)
    for attempt in range(ATTEMPTS):
        genes = propose.mutation() if attempt < ATTEMPTS // 2 else propose.afresh()
        values = np.array([g.constrain(g.low + part * (g.high - g.low)) for g, part in zip(SPACE, genes, strict=True)])
        if tuple(values) not in known:
            return _detector(start, values)
    raise BadInput(f"after {len(history)} trials no mutation is left that was not tried; lower the search's budget")


def best(history: Sequence[Trial]) -> Trial:
    """The trial with the highest score, the first of equals."""
    return max(history, key=lambda trial: trial.score)


def recipe(parent: str, model: str, start: Detector, found: Trial, trials: int) -> str:
    """The outcome as an experiment's YAML: its parent, and the fields in which the best differs from the start."""
    before, after = start.model_dump(mode="json"), found.detector.model_dump(mode="json")
    changed = {field: value for field, value in after.items() if value != before[field]}
    document = {
        "extends": parent,
        "title": f"{parent}, evolved",
        "remark": f"the best of {trials} trials, opacity {found.score:.4f}",
        "detectors": {model: changed},
    }
    return yaml.safe_dump(document, sort_keys=False)


class _Proposals:
    """Draws genes, each a fraction of its range.

    Args:
        tried: (trials, genes) what was tried, in order.
        scores: (trials,) how it scored.
        rng: where chance comes from.
    """

    def __init__(self, tried: Floats, scores: Floats, rng: np.random.Generator) -> None:
        order = np.argsort(-scores, kind="stable")
        self.rng, self.parents = rng, tried[order][:PARENTS]
        above = scores[order][:PARENTS] - scores[order][:PARENTS].min() + 1e-6
        self.weights = above / above.sum()
        stale = len(scores) - 1 - int(np.argmax(np.round(scores, 5)))
        decay = 1 - 0.2 * min(stale / STALE, 1)
        gains = np.array([gene.gain for gene in SPACE])
        finest = np.array([gene.resolution / (gene.high - gene.low) for gene in SPACE])
        self.scale = np.maximum(STEP * decay * gains, finest)
        self.confidence, self.covariance = 0.0, np.zeros((len(SPACE), len(SPACE)))
        if len(scores) >= ENOUGH:
            elite = min(int(np.ceil(len(scores) * 0.2)), ENOUGH)
            self.confidence = min(elite / len(SPACE), 1.0)
            spread = np.cov(tried[order[:elite]], rowvar=False) * decay**2 * self.confidence
            self.covariance = spread + np.diag(np.square(self.scale) / len(SPACE))

    def mutation(self) -> Floats:
        """A parent of which about half the genes have moved."""
        genes: Floats = self._parent()
        moves = self.rng.random(len(SPACE)) < 0.5
        if self.rng.random() < 0.4 * self.confidence:
            moved = np.where(moves, self.rng.multivariate_normal(genes, self.covariance), genes)
            genes = 1 - np.abs(moved % 2 - 1)  # mirrored at the bounds
        else:
            genes = np.clip(genes + moves * self.rng.standard_normal(len(SPACE)) * self.scale, 0, 1)
        return genes

    def afresh(self) -> Floats:
        """Genes drawn from their whole range."""
        return self.rng.random(len(SPACE))

    def _parent(self) -> Floats:
        chosen: Floats = self.parents[self.rng.choice(len(self.parents), p=self.weights)]
        return chosen


def _values(detector: Detector) -> Floats:
    return np.array([gene.constrain(getattr(detector, gene.field)) for gene in SPACE])


def _normalised(values: Floats) -> Floats:
    low = np.array([gene.low for gene in SPACE])
    high = np.array([gene.high for gene in SPACE])
    parts: Floats = (values - low) / (high - low)
    return parts


def _detector(start: Detector, values: Floats) -> Detector:
    genes = {g.field: int(value) if g.whole else float(value) for g, value in zip(SPACE, values, strict=True)}
    return Detector.model_validate({**start.model_dump(), **genes})
