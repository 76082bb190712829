"""The code of an export: complete, and free of what an export does not have."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.tools.export.code import needed_code
from jobs.tools.export.folder import DETECTOR_CODE, ONNX_PROGRAM

PROGRAM, OFFLINE = "jobs.tools.export.with_torch", "jobs.tools.export.offline"


def test_the_code_has_neither_store_nor_stages():
    code = needed_code([PROGRAM])
    assert not {"boto3", "botocore", "requests", "typer", "prometheus_client"} & code.imports
    assert "jobs.runtime.store" not in code.files
    assert {"jobs.nets.yolo.predict", "jobs.scoring.combine", "jobs.films.dicom.film", OFFLINE} <= code.files.keys()
    assert code.libraries >= {"torch", "timm", "ultralytics", "pydicom", "pylibjpeg"}


def test_the_code_for_onnx_has_nothing_of_torch_nor_of_the_detectors():
    code = needed_code([ONNX_PROGRAM])
    assert {"onnxruntime", "pydicom", "numba"} <= code.imports
    assert not {"torch", "torchvision", "timm", "ultralytics", "safetensors", "onnx"} & code.imports
    assert not any(module.startswith(DETECTOR_CODE) for module in code.files)
    assert {"jobs.scoring.combine", "jobs.scoring.suppression", "jobs.nets.tables", OFFLINE} <= code.files.keys()


def test_without_a_detector_nothing_of_it_is_in_the_code():
    code = needed_code([PROGRAM], without=DETECTOR_CODE)
    assert not any(module.startswith(DETECTOR_CODE) for module in code.files)
    assert "ultralytics" not in code.imports
    for file in code.files.values():
        names = [name for node in ast.walk(ast.parse(file.read_text())) for name in getattr(node, "names", [])]
        assert not any(alias.name.startswith("ultralytics") for alias in names)


@pytest.mark.slow
@pytest.mark.parametrize("entry", [PROGRAM, ONNX_PROGRAM])
def test_the_code_alone_shows_its_help(entry, tmp_path):
    code = needed_code([entry])
    for module, file in code.files.items():
        path = tmp_path / Path(*module.split("."))
        copy = path / "__init__.py" if file.name == "__init__.py" else path.with_suffix(".py")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    program = (
        f"import sys; from pathlib import Path; import {entry} as entry; "
        f"assert entry.__file__.startswith({str(tmp_path)!r}); entry.main(Path('.'), ['--help'])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert "TEST_FOLDER" in shown.stdout
