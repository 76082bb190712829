from pathlib import Path

import pytest

from jobs.contract.experiment import Detector, DetectorInference, Evolve
from tests.jobs.nets.yolo.liveness import LIVENESS

# Checked with the stage: tests/jobs/train_detector/test_search.py, "as many are trained as the budget says".
ELSEWHERE = {"evolve.epochs"}


def test_every_field_of_a_detector_has_its_check():
    fields = set(Detector.model_fields) - {"inference", "evolve"}
    fields |= {f"inference.{name}" for name in DetectorInference.model_fields}
    fields |= {f"evolve.{name}" for name in Evolve.model_fields}
    assert set(LIVENESS) | ELSEWHERE == fields


@pytest.mark.slow
@pytest.mark.parametrize("field", LIVENESS)
def test_a_change_of_the_field_changes_what_is_computed(field: str, tmp_path: Path):
    LIVENESS[field](tmp_path)
