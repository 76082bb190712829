"""How sure the ensemble is that a film shows no opacity."""

from collections.abc import Mapping

import numpy as np

from jobs.contract.exits import BadInput
from jobs.scoring.metric import Floats, Ints


def highest_confidence(film: Ints, confidence: Floats, films: int) -> Floats:
    """Each film's highest box confidence, (films,); 0 for a film without boxes."""
    highest = np.zeros(films)
    np.maximum.at(highest, film, confidence)
    return highest


def none_probability(sources: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """Weighted mean of what says that a film shows no opacity.

    Args:
        sources: name → (films,) probability, of those that the run has: ``boxes`` (1 - the film's highest box
            confidence), ``negative`` (its study's probability of the negative class), ``film2`` (a film-level model's).
        weights: name → weight; sources that a run lacks are left out of the mean.

    Raises:
        BadInput: all sources at hand weigh nothing.
    """
    total = sum(weights[name] for name in sources)
    if total <= 0:
        raise BadInput(
            f"ensemble.none gives no weight to {' or '.join(sorted(sources))}, and this run's models say nothing else "
            "about films without opacity; set one of these weights above 0."
        )
    return np.asarray(sum(weights[name] * values for name, values in sources.items()) / total)
