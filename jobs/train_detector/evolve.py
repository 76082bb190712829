# SPDX-License-Identifier: AGPL-3.0-only
"""``evolve``, row 6 of the study log: choose the settings to try next from the scores of earlier trials.

The mutation is that of ultralytics' ``Tuner._mutate`` (8.4): sample a parent from the nine best trials, weighted by
score; move about half of its genes by a normal step, clipped to their bounds; take smaller steps when the best score
has not improved for long; from thirty trials on, take some steps from the covariance of the best fifth. Unlike there, a
candidate is a pure function of seed and history, so a search resumes from the scores of finished trials alone; and the
first candidate is the starting point unchanged, even where it lies outside the bounds.
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
STEP: Final = 0.2  # standard deviation of a mutation, as a fraction of the gene's range
STALE: Final = 25  # trials without improvement until steps have shrunk to four fifths
MIN_TRIALS: Final = 30  # before the covariance is used; also the largest elite
LONGEST_NAME: Final = 40  # characters of an experiment's name


@dataclass(frozen=True)
class Gene:
    """A field that mutates: its bounds, and its step size relative to other fields (``gain``)."""

    field: str
    low: float
    high: float
    gain: float = 1.0
    whole: bool = False

    @property
    def resolution(self) -> float:
        """The smallest step."""
        return 1.0 if self.whole else 1e-5

    def at(self, fraction: float) -> float:
        """Return the value at a fraction of the range, rounded to the resolution."""
        value = float(self.low + fraction * (self.high - self.low))
        return min(max(float(round(value, None if self.whole else 5)), self.low), self.high)


# ultralytics' bounds and gains, for those of its genes that an experiment has a field for.
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
    """A trained candidate and its score."""

    detector: Detector
    score: float


def candidate(start: Detector, history: Sequence[Trial], seed: int) -> Detector:
    """Return the next candidate: first the starting point, then mutations of the best trials, never the same twice.

    Args:
        start: the starting point; fields that are no genes keep its values.
        history: the trials so far, in order.
        seed: the search's seed.
    """
    if not history:
        return start
    values_tried = np.array([list(gene_values(trial.detector).values()) for trial in history], np.float64)
    known = {tuple(values) for values in values_tried.tolist()}
    scores = np.array([trial.score for trial in history])
    mutations = _Mutations(_fractions(values_tried), scores, np.random.default_rng([seed, len(history)]))
    while True:
        values = [gene.at(fraction) for gene, fraction in zip(SPACE, mutations.sample(), strict=True)]
        if tuple(values) not in known:
            return Detector.model_validate({**start.model_dump(), **_fields(values)})


def best_trial(history: Sequence[Trial]) -> Trial:
    """Return the trial with the highest score, the earliest of equal ones."""
    return max(history, key=lambda trial: trial.score)


def gene_values(detector: Detector) -> dict[str, float]:
    """Return the values of a detector's genes."""
    return {gene.field: getattr(detector, gene.field) for gene in SPACE}


def recipe(experiment: Experiment, model: str, fold: int, history: Sequence[Trial]) -> str:
    """Return the experiment with the best trial's settings, as a complete YAML recipe.

    Args:
        experiment: the experiment that the search was part of.
        model: the detector's name.
        fold: the held-out fold that the trials were scored on.
        history: all trials, in order.
    """
    best, suffix = best_trial(history), "-evolved"
    remark = (
        f"the best of {len(history)} candidates: opacity {best.score:.4f} on fold {fold}, against "
        f"{history[0].score:.4f} at the start; selected on that fold, so validate it on the other folds"
    )
    evolved = experiment.model_copy(
        update={
            "name": experiment.name[: LONGEST_NAME - len(suffix)].rstrip("-") + suffix,
            "title": f"{experiment.title or experiment.name}, {model} evolved on fold {fold}",
            "remark": remark,
            "inferred": {},
            "detectors": {**experiment.detectors, model: best.detector},
        }
    )
    return yaml.safe_dump(evolved.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)


class _Mutations:
    """Samples mutations; genes are fractions of their ranges.

    Args:
        tried: (trials, genes) the trials' genes, in order.
        scores: (trials,) their scores.
        rng: the random generator.
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
        if len(scores) >= MIN_TRIALS:
            elite = min(int(np.ceil(len(scores) * 0.2)), MIN_TRIALS)
            self.confidence = min(elite / len(SPACE), 1.0)
            spread = np.cov(tried[order[:elite]], rowvar=False) * decay**2 * self.confidence
            self.covariance = spread + np.diag(np.square(self.scale) / len(SPACE))

    def sample(self) -> list[float]:
        """Return a mutated parent: about half of its genes have moved."""
        parent = self.parents[self.rng.choice(len(self.parents), p=self.weights)]
        moves = self.rng.random(len(SPACE)) < 0.5
        if self.covariance is not None and self.rng.random() < 0.4 * self.confidence:
            moved = np.where(moves, self.rng.multivariate_normal(parent, self.covariance), parent)
            genes = 1 - np.abs(moved % 2 - 1)  # reflected at the bounds
        else:
            genes = np.clip(parent + moves * self.rng.standard_normal(len(SPACE)) * self.scale, 0, 1)
        return [float(gene) for gene in genes]


def _fractions(values: Floats) -> Floats:
    low = np.array([gene.low for gene in SPACE])
    high = np.array([gene.high for gene in SPACE])
    fractions: Floats = (values - low) / (high - low)
    return fractions


def _fields(values: Sequence[float]) -> dict[str, float]:
    return {gene.field: int(value) if gene.whole else value for gene, value in zip(SPACE, values, strict=True)}
