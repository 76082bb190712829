"""Temperature scaling."""

import numpy as np
import pandas as pd
import pytest

from jobs.contract.names import STUDY_CLASSES
from jobs.scoring.evaluation_set import EvaluationSet
from jobs.scoring.statistics.calibration import scaled
from jobs.scoring.submission import parse
from jobs.scoring.temperature import fit, out_of_fold, scaling, study_probabilities


def overconfident(count: int, factor: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return labels sampled from probabilities, and the probabilities made overconfident by scaled logarithms."""
    rng = np.random.default_rng(seed)
    true = rng.dirichlet([1.0] * 4, count)
    labels = np.array([rng.choice(4, p=row) for row in true])
    return scaled(true, 1 / factor), labels


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_that_spoilt_predictions_is_found(factor):
    probability, label = overconfident(4000, factor)
    assert fit(probability, label) == pytest.approx(factor, rel=0.08)


def test_scaling_keeps_the_most_probable_class_and_sums_of_one():
    probability, _ = overconfident(50, 2.0)
    after = scaled(probability, 2.5)
    assert after.sum(axis=1) == pytest.approx(np.ones(50))
    assert (after.argmax(axis=1) == probability.argmax(axis=1)).all()
    assert scaled(probability, 1.0) == pytest.approx(probability, abs=1e-6)


def evaluation_set(labels: np.ndarray, folds: int) -> EvaluationSet:
    names = [f"s{n:04d}" for n in range(len(labels))]
    return EvaluationSet.from_index(
        pd.DataFrame(
            {
                "image": names, "study": names, "patient": names, "study_class": [STUDY_CLASSES[n] for n in labels],
                "boxes": [[] for _ in names], "fold": np.arange(len(names)) % folds,
            }
        )
    )  # fmt: skip


@pytest.mark.parametrize("folds", [1, 5])
def test_out_of_fold_each_study_is_scaled_without_its_own_label(folds):
    probability, label = overconfident(1000, 3.0)
    known = evaluation_set(label, folds)
    temperature, after = out_of_fold(probability, known)
    found = scaling(temperature, probability, after, label)
    assert found.loss[1] < found.loss[0]
    assert found.error[1] < 0.5 * found.error[0]
    turned = label.copy()
    turned[0] = (label[0] + 1) % 4
    _, other = out_of_fold(probability, evaluation_set(turned, folds))
    assert (after[0] == other[0]).all(), "a study's own label changes nothing for it"


def test_probabilities_are_read_from_a_submission_of_all_classes_only():
    known = evaluation_set(np.array([0, 1]), 1)
    row = "{}_study,typical 0.6 0 0 1 1 negative 0.3 0 0 1 1 atypical 0.1 0 0 1 1 indeterminate 0.2 0 0 1 1"
    text = "\n".join(["id,PredictionString", row.format("s0001"), row.format("s0000"), "s0000_image,none 1 0 0 1 1"])
    assert study_probabilities(parse(text, "it"), known)[0] == pytest.approx(np.array([0.3, 0.6, 0.2, 0.1]) / 1.2)
    top = text.replace(" atypical 0.1 0 0 1 1", "")
    assert study_probabilities(parse(top, "it"), known) is None
