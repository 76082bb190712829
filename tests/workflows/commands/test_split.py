"""The commands ``split export`` and ``split import`` as a user gives them."""

import subprocess
import sys
from pathlib import Path

import pytest

from jobs.contract.stored import layout
from jobs.runtime.store import Store


def split(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "workflows/cv.py", "split", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_split_is_imported_and_a_file_that_is_none_is_refused(
    s3_environment: dict[str, str], s3_store: Store, tmp_path: Path
):
    file = tmp_path / "split.csv"
    file.write_text("patient,study,fold\np,s,0\nq,t,1\n")
    done = split(s3_environment, "import", str(file), "hospital")
    assert (done.returncode, done.stdout) == (0, "hospital keeps 2 patients in 2 folds: --set folds.frozen=hospital\n")
    assert s3_store.get_json(layout.split("hospital"))["patients"] == {"p": 0, "q": 1}
    file.write_text("patient,fold\np,0\n")
    refused = split(s3_environment, "import", str(file), "hospital")
    assert (refused.returncode, refused.stderr.count("\n")) == (78, 1)
    assert "split.csv lacks the column study" in refused.stderr
    absent = split(s3_environment, "export", "nobody", str(tmp_path / "out.csv"))
    assert absent.returncode == 78
    assert "Run nobody" in absent.stderr
