"""The probability that a film shows no opacity, from several sources."""

from collections.abc import Mapping

import numpy as np

from jobs.contract.exits import BadInput
from jobs.scoring.metric import Floats, Ints


def highest_confidence(film: Ints, confidence: Floats, films: int) -> Floats:
    """Return each film's highest box confidence, (films,); 0 for a film without boxes."""
    highest = np.zeros(films)
    np.maximum.at(highest, film, confidence)
    return highest


def none_probability(sources: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """Return the weighted mean of the sources' probabilities of ``none``.

    Args:
        sources: name → (films,) probability, of the sources that the run has: ``boxes`` (1 - the film's highest box
            confidence), ``negative`` (its study's probability of the negative class), ``film2`` (a film-level model's).
        weights: name → weight; weights of sources that the run lacks are not used.

    Raises:
        BadInput: every source that the run has is weighted 0.
    """
    total = sum(weights[name] for name in sources)
    if total <= 0:
        raise BadInput(
            f"ensemble.none gives {' and '.join(sorted(sources))} weight 0, and this run's models provide no other "
            "source: set one of these weights above 0."
        )
    return np.asarray(sum(weights[name] * values for name, values in sources.items()) / total)
