"""Audit of the leakage of a split by study: validation studies whose patient is also in the training folds."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.contract.exits import BadInput

SEEDS: Final = range(10)
FOLDS: Final = 5


@dataclass(frozen=True)
class Audit:
    """Leakage of a split by study; shares are fractions (0 to 1) of a fold's validation studies."""

    films: int
    studies: int
    patients: int
    patients_with_several_studies: int
    same_class: float  # probability that two studies of a patient have the same class
    same_class_by_chance: float  # probability that two random studies have the same class
    leaked: float  # mean over the folds and seeds of a stratified split by study
    lowest: float
    highest: float
    folds: tuple[float, ...]  # mean over seeds for each fold


def audit(studies: pd.DataFrame, films: int) -> Audit:
    """Split by study, ignoring the patients, and measure the leakage.

    Args:
        studies: one row per study, with the columns study, study_class, patient.
        films: number of films of these studies.

    Raises:
        BadInput: fewer studies than folds.
    """
    if len(studies) < FOLDS:
        raise BadInput(f"{len(studies)} studies cannot be split into {FOLDS} folds; an audit needs more.")
    patient, classes = pd.factorize(studies["patient"])[0], pd.factorize(studies["study_class"])[0]
    shares = np.array([_leaks(patient, classes, seed) for seed in SEEDS])
    counts = pd.crosstab(patient, classes).to_numpy()  # studies per patient and class
    several = counts.sum(axis=1)
    pairs = int((several * (several - 1)).sum())
    return Audit(
        films=films,
        studies=len(studies),
        patients=len(several),
        patients_with_several_studies=int((several > 1).sum()),
        same_class=float((counts * (counts - 1)).sum() / pairs) if pairs else 0.0,
        same_class_by_chance=float(((counts.sum(axis=0) / len(studies)) ** 2).sum()),
        leaked=float(shares.mean()),
        lowest=float(shares.min()),
        highest=float(shares.max()),
        folds=tuple(float(share) for share in shares.mean(axis=0)),
    )


def _leaks(patient: NDArray[np.int64], classes: NDArray[np.int64], seed: int) -> list[float]:
    """Return for each fold the fraction of validation studies whose patient is also in the training folds."""
    rng = np.random.default_rng(seed)
    # Deal the studies round-robin, in random order within each class.
    order = np.lexsort((rng.random(len(classes)), classes))
    fold = np.empty(len(classes), np.int64)
    fold[order] = np.arange(len(classes)) % FOLDS
    splits = [(patient[fold != number], patient[fold == number]) for number in range(FOLDS)]
    return [float(np.isin(held_out, rest).mean()) for rest, held_out in splits]
