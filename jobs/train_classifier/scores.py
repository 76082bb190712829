"""The score of an epoch: the model's figure, from the probabilities of one set of films."""

import numpy as np

from jobs.contract.experiment import Classifier
from jobs.contract.names import STUDY_CLASSES
from jobs.films.loader import Films
from jobs.scoring.evaluation_set import film2_table
from jobs.scoring.metric import Detections, Floats, Truth, average_precisions, match, mean_ap
from jobs.scoring.submission import UNIT_BOX


def score(model: Classifier, probabilities: Floats, films: Films) -> float:
    """Return the model's figure (map4 or film2) on some films.

    Args:
        model: the classifier; its classes are the columns of ``probabilities``.
        probabilities: (films, classes).
        films: their labels.
    """
    if model.answers_studies:
        return study_map4(pool_studies(probabilities[:, : len(STUDY_CLASSES)], films), films)
    none, opacity = probabilities[:, -2], probabilities[:, -1]
    return mean_ap(average_precisions(film2_table(films.film == 1, none, opacity)))


def pool_studies(probabilities: Floats, films: Films) -> Floats:
    """Return the mean over the films of each study, (studies, classes)."""
    sums = np.zeros((int(films.group.max()) + 1, probabilities.shape[1]))
    np.add.at(sums, films.group, probabilities)
    return sums / np.bincount(films.group)[:, None]


def study_map4(probabilities: Floats, films: Films) -> float:
    """Return the mean average precision of the four study classes; ``probabilities`` is (studies, 4)."""
    studies, classes = probabilities.shape
    label = np.zeros(studies, np.int64)
    label[films.group] = films.study
    truth = Truth(studies, np.arange(studies), label, np.tile(UNIT_BOX, (studies, 1)))
    detections = Detections(
        unit=np.repeat(np.arange(studies), classes),
        label=np.tile(np.arange(classes), studies),
        confidence=probabilities.reshape(-1),
        box=np.tile(UNIT_BOX, (studies * classes, 1)),
    )
    return mean_ap(average_precisions(match(truth, detections, STUDY_CLASSES)))
