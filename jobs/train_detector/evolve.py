# SPDX-License-Identifier: AGPL-3.0-only
"""``evolve`` of the study log's row 6: which settings to try next, given how those before them scored.

The way of mutating is that of ultralytics' ``Tuner._mutate`` (8.4): a parent is drawn from the nine best, weighted by
score; half of its genes move by a normal step within their bounds; a search that goes stale takes smaller steps; from
thirty trials on, some steps follow the covariance of the best fifth. Unlike there, a candidate is a pure function of
seed and history, so that a search is resumed by nothing but the scores of what it has trained, and the first candidate
is the start as it is, also where it lies beyond the bounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import yaml
from numpy.typing import NDArray

from jobs.contract.experiment import Detector, Experiment

Floats = NDArray[np.float64]

PARENTS: Final = 9
STEP: Final = 0.2  # standard deviation of a mutation, as a part of the gene's range
STALE: Final = 25  # trials without a better one after which steps are four fifths as large
ENOUGH: Final = 30  # trials from which on covariance is believed; also the largest elite
LONGEST_NAME: Final = 40  # of an experiment


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

    def at(self, part: float) -> float:
        """The field's value at a part of its range, rounded to what makes a difference."""
        value = float(self.low + part * (self.high - self.low))
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
    """Settings that were tried, and their score."""

    detector: Detector
    score: float


def candidate(start: Detector, history: Sequence[Trial], seed: int) -> Detector:
    """What to try next: where the search starts, then mutations of the best, none of them twice.

    Args:
        start: where the search begins; fields that are no genes stay as they are in it.
        history: what was tried, in order.
        seed: of the search.
    """
    if not history:
        return start
    tried = np.array([list(settings(trial.detector).values()) for trial in history], np.float64)
    known = {tuple(values) for values in tried.tolist()}
    scores = np.array([trial.score for trial in history])
    mutations = _Mutations(_parts(tried), scores, np.random.default_rng([seed, len(history)]))
    while True:
        values = [gene.at(part) for gene, part in zip(SPACE, mutations.draw(), strict=True)]
        if tuple(values) not in known:
            return Detector.model_validate({**start.model_dump(), **_fields(values)})


def best(history: Sequence[Trial]) -> Trial:
    """The trial with the highest score, the first of equals: a search that finds nothing better ends where it began."""
    return max(history, key=lambda trial: trial.score)


def settings(detector: Detector) -> dict[str, float]:
    """The values of a detector's genes."""
    return {gene.field: getattr(detector, gene.field) for gene in SPACE}


def recipe(experiment: Experiment, model: str, fold: int, history: Sequence[Trial]) -> str:
    """The outcome as an experiment's YAML, whole, so that it trains to the weights the search has trained.

    Args:
        experiment: what the search was part of.
        model: the detector that was searched for.
        fold: the fold whose films it was scored on.
        history: what was tried.
    """
    found, suffix = best(history), "-evolved"
    remark = (
        f"the best of {len(history)} candidates, opacity {found.score:.4f} on fold {fold}, where the start has "
        f"{history[0].score:.4f}; chosen on that fold, so only the other folds tell what the settings are worth"
    )
    evolved = experiment.model_copy(
        update={
            "name": experiment.name[: LONGEST_NAME - len(suffix)].rstrip("-") + suffix,
            "title": f"{experiment.title or experiment.name}, {model} evolved on fold {fold}",
            "remark": remark,
            "inferred": {},
            "detectors": {**experiment.detectors, model: found.detector},
        }
    )
    return yaml.safe_dump(evolved.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)


class _Mutations:
    """Draws genes, each as a part of its range.

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
        self.confidence, self.covariance = 0.0, None
        if len(scores) >= ENOUGH:
            elite = min(int(np.ceil(len(scores) * 0.2)), ENOUGH)
            self.confidence = min(elite / len(SPACE), 1.0)
            spread = np.cov(tried[order[:elite]], rowvar=False) * decay**2 * self.confidence
            self.covariance = spread + np.diag(np.square(self.scale) / len(SPACE))

    def draw(self) -> list[float]:
        """A parent of which about half the genes have moved."""
        parent = self.parents[self.rng.choice(len(self.parents), p=self.weights)]
        moves = self.rng.random(len(SPACE)) < 0.5
        if self.covariance is not None and self.rng.random() < 0.4 * self.confidence:
            moved = np.where(moves, self.rng.multivariate_normal(parent, self.covariance), parent)
            genes = 1 - np.abs(moved % 2 - 1)  # mirrored at the bounds
        else:
            genes = np.clip(parent + moves * self.rng.standard_normal(len(SPACE)) * self.scale, 0, 1)
        return [float(gene) for gene in genes]


def _parts(values: Floats) -> Floats:
    low = np.array([gene.low for gene in SPACE])
    high = np.array([gene.high for gene in SPACE])
    parts: Floats = (values - low) / (high - low)
    return parts


def _fields(values: Sequence[float]) -> dict[str, float]:
    return {gene.field: int(value) if gene.whole else value for gene, value in zip(SPACE, values, strict=True)}
