"""The figures that scores are reported as, and which of them a run's models support."""

from typing import Final

from jobs.contract.experiment import Experiment
from jobs.contract.names import ALL_CLASSES, FILM_CLASSES, STUDY_CLASSES

# Widest first. ``film2`` is computed from film-level probabilities, all others from the submission.
FIGURES: Final = {"map6": ALL_CLASSES, "map4": STUDY_CLASSES, "film2": FILM_CLASSES, "opacity": ("opacity",)}


def available_figures(experiment: Experiment) -> tuple[str, ...]:
    """Return the figures that an experiment's models support, widest first; the first is the headline."""
    voters = experiment.voters.values()
    studies = any(model.answers_studies for model in voters)
    films = any(model.answers_films for model in voters)
    boxes = any(model.answers_boxes for model in voters)
    available = {"map6": studies and boxes, "map4": studies, "film2": films, "opacity": boxes}
    return tuple(name for name in FIGURES if available[name])
