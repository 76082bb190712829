"""Wrong labels that predictions find: flipped study classes and dropped boxes of phantom studies."""

import numpy as np
import pytest

from jobs.contract.experiment import Ensemble
from jobs.contract.names import STUDY_CLASSES
from jobs.evaluate.label_audit import MISSING, STUDY, SUPERFLUOUS, audit_labels
from jobs.scoring.combine import Voter, combine
from jobs.scoring.evaluation_set import EvaluationSet
from jobs.scoring.statistics.label_errors import doubted_boxes, doubted_classes
from tests.jobs.scoring.statistics.test_subgroups import phantom_films, predictions

FLIPPED = 0.05


def audited(seed: int, flip: float, drop: float):
    """The audit of phantom studies of which some have another class, and some boxes are dropped or made up."""
    rng = np.random.default_rng(seed)
    true = phantom_films(seed, patients=250)
    classifier, detector = predictions(true, np.full(len(true), 0.9), seed)
    is_stray = detector["ymin"].eq(95.0)  # a detector that is surer of boxes than of nothing
    detector["confidence"] = np.where(is_stray, 0.5, 1.0) * detector["confidence"] + np.where(is_stray, 0.0, 0.15)
    wrong = rng.random(len(true)) < flip
    shifted = [STUDY_CLASSES[(STUDY_CLASSES.index(name) + 1) % 4] for name in true["study_class"]]
    dropped = true["boxes"].map(len).gt(0).to_numpy() & (rng.random(len(true)) < drop)
    films = true.assign(
        study_class=np.where(wrong, shifted, true["study_class"]),
        boxes=[boxes[1:] if gone else boxes for boxes, gone in zip(true["boxes"], dropped, strict=True)],
    )
    combined = combine(films, [Voter("b3", 1.0, classifier)], [Voter("yolo", 1.0, detector)], Ensemble())
    known = EvaluationSet.from_index(films)
    audit = audit_labels(films, known, combined.submission, studies=True, boxes=True)
    return audit, set(true["study"][wrong]), set(true["image"][dropped])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_flipped_classes_are_doubted_first_and_counted(seed):
    audit, flipped, _ = audited(seed, FLIPPED, 0.0)
    rows = audit.rows[audit.rows["kind"] == STUDY]
    first = set(rows["study"].head(len(flipped)))
    assert len(first & flipped) >= 0.8 * len(flipped)
    wrong, labels = audit.estimates[STUDY]
    assert labels == 400
    assert 0.5 * len(flipped) <= wrong <= 2.5 * len(flipped)
    none, _, _ = audited(seed, 0.0, 0.0)
    assert none.estimates[STUDY][0] < 0.5 * wrong


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_dropped_boxes_are_found_and_counted(seed):
    audit, _, dropped = audited(seed, 0.0, 3 * FLIPPED)
    rows = audit.rows[audit.rows["kind"] == MISSING]
    assert len(dropped & set(rows["image"])) >= 0.25 * len(dropped), "those of which the detector is sure"
    assert len(set(rows["image"]) - dropped) <= 0.1 * len(rows) + 1
    assert 0.4 * len(dropped) <= audit.estimates[MISSING][0] <= 2 * len(dropped)
    none, _, _ = audited(seed, 0.0, 0.0)
    assert none.estimates[MISSING][0] <= 0.2 * len(dropped)


def test_a_box_that_no_detection_matches_may_show_nothing():
    confidence, correct = np.array([0.9, 0.8, 0.87, 0.01]), np.array([True, True, False, False])
    found = doubted_boxes(confidence, correct, np.array([0.9, 0.8, 0.0]))
    assert list(found.missing) == [False, False, True, False]
    assert list(found.superfluous) == [False, False, True]


def test_perfect_predictions_doubt_nothing():
    label = np.arange(40) % 4
    found = doubted_classes(np.eye(4)[label], label)
    assert (found.wrong, found.confident.any(), found.doubt.max()) == (0, False, -1)


def test_nothing_predicted_nothing_doubted():
    films = phantom_films(1, patients=20)
    classifier, detector = predictions(films, np.full(len(films), 0.9), 1)
    combined = combine(films, [Voter("b3", 1.0, classifier)], [Voter("yolo", 1.0, detector)], Ensemble())
    audit = audit_labels(films, EvaluationSet.from_index(films), combined.submission, studies=False, boxes=False)
    assert audit.rows.empty
    assert audit.estimates == {}
    boxes = audit_labels(films, EvaluationSet.from_index(films), combined.submission, studies=False, boxes=True)
    assert set(boxes.estimates) == {MISSING, SUPERFLUOUS}
