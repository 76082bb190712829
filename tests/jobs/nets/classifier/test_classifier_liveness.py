from pathlib import Path

import pytest

from jobs.contract.experiment import Aux, Classifier, ClassifierInference, LearningStage
from tests.jobs.nets.classifier.liveness import LIVENESS, SHARED

PARTS = {"aux": Aux, "stages": LearningStage, "inference": ClassifierInference}


def test_every_field_of_a_classifier_has_its_check():
    inner = {f"{part}.{name}" for part, model in PARTS.items() for name in model.model_fields}  # type: ignore[attr-defined]
    assert set(LIVENESS) == set(Classifier.model_fields) - {"inference"} | inner


@pytest.mark.slow
@pytest.mark.parametrize("field", [*LIVENESS, *SHARED])
def test_a_change_of_the_field_changes_what_is_computed(field: str, tmp_path: Path):
    {**LIVENESS, **SHARED}[field](tmp_path)
