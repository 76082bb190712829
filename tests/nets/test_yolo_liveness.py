from pathlib import Path

import pytest

from jobs.contract.experiment import Detector, DetectorInference
from tests.nets.liveness_detector import LIVENESS


def test_every_field_of_a_detector_has_its_check():
    fields = set(Detector.model_fields) - {"inference"}
    assert set(LIVENESS) == fields | {f"inference.{name}" for name in DetectorInference.model_fields}


@pytest.mark.parametrize("field", LIVENESS)
def test_a_change_of_the_field_changes_what_is_computed(field: str, tmp_path: Path):
    LIVENESS[field](tmp_path)
