import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jobs.contract.exits import BadInput
from jobs.films.phantom.files import write_phantom
from jobs.films.splitting.leakage import audit
from jobs.tools.audit import audit_labels


def studies(patients: list[str]) -> pd.DataFrame:
    names = [f"s{number}" for number in range(len(patients))]
    classes = np.random.default_rng(0).choice(["negative", "typical"], len(patients))
    return pd.DataFrame({"study": names, "patient": patients, "study_class": classes})


def test_patients_of_one_study_cannot_leak():
    found = audit(studies([f"p{number}" for number in range(50)]), 50)
    assert (found.leaked, found.lowest, found.highest) == (0, 0, 0)
    assert found.patients_with_several_studies == 0


def test_one_patient_of_all_studies_leaks_all_of_them():
    found = audit(studies(["p"] * 50), 50)
    assert found.folds == (1, 1, 1, 1, 1)
    assert found.same_class == pytest.approx(found.same_class_by_chance, abs=0.02)


def test_pairs_of_studies_leak_four_times_in_five():
    found = audit(studies([f"p{number // 2}" for number in range(1000)]), 1000)
    assert found.leaked == pytest.approx(0.8, abs=0.02)  # the other study lies in one of the four other folds
    assert found.lowest < found.leaked < found.highest


def test_label_files_with_a_table_of_patients_are_audited(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_phantom(tmp_path, patients=10, seed=1, size=96, table=True)
    found = audit_labels(tmp_path, as_json=True)
    assert json.loads(capsys.readouterr().out)["leaked"] == pytest.approx(found.leaked)
    assert (found.studies, found.patients) == (16, 10)
    audit_labels(tmp_path)
    assert "It leaks" in capsys.readouterr().out


def test_without_a_table_of_patients_the_missing_file_is_named(tmp_path: Path):
    write_phantom(tmp_path, patients=3, seed=1, size=96)
    with pytest.raises(BadInput, match=r"train_meta\.csv is missing"):
        audit_labels(tmp_path)
