import ast
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker

from jobs.contract.names import Stage

ROOT = Path(__file__).parents[2]
IMAGES = ("small", "base", "detector")
SOURCES = metadata.packages_distributions()
SMALL_STAGES = (Stage.PREPARE, Stage.ENSEMBLE, Stage.EVALUATE)


def locked(path: Path) -> dict[str, str]:
    """Name → version of a locked requirements file, as Python 3.11 on Linux reads it."""
    lines = re.findall(r"^([a-z0-9.-]+)==(\S+)(?: ; (.*))? \\$", path.read_text(), flags=re.MULTILINE)
    here = {"python_version": "3.11", "python_full_version": "3.11.0", "sys_platform": "linux"}
    return {name: version for name, version, marker in lines if not marker or Marker(marker).evaluate(here)}


def image(name: str) -> dict[str, str]:
    return locked(ROOT / "images" / name / "requirements.txt")


def third_party(path: Path) -> set[str]:
    """Top-level names that a module imports, at any depth of its code, and that come from a distribution."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found - sys.stdlib_module_names - {"jobs"}


def is_installed(module: str, lock: dict[str, str]) -> bool:
    """Whether a top-level module comes from one of a lock's distributions."""
    distributions = {each.lower().replace("_", "-") for each in SOURCES.get(module, [])}
    return bool(distributions & lock.keys())


@pytest.mark.parametrize("name", IMAGES)
def test_lock_has_versions_and_hashes_and_no_addresses(name: str) -> None:
    text = (ROOT / "images" / name / "requirements.txt").read_text()
    for requirement in re.split(r"\n(?=\S)", text.strip()):
        first, *hashes = requirement.split(" \\\n")
        assert re.fullmatch(r"[a-z0-9._-]+==[0-9][^\s;@]*", first), first
        assert hashes, first
        assert all(re.fullmatch(r"\s+--hash=sha256:[0-9a-f]{64}", each) for each in hashes), first


@pytest.mark.parametrize("name", IMAGES)
def test_lock_has_what_is_asked_for_at_the_tested_versions(name: str) -> None:
    asked = (ROOT / "images" / name / "requirements.in").read_text().split("\n")
    names = {line for line in asked if line and not line.startswith(("#", "-r"))}
    assert names <= image(name).keys(), "run: make lock"
    tested = locked(ROOT / "requirements" / "dev.txt")
    assert {each: version for each, version in image(name).items() if tested.get(each) != version} == {}


def test_each_image_adds_to_the_one_below() -> None:
    small, base, detector = (image(name).items() for name in IMAGES)
    assert small < base < detector
    assert not {name for name, _ in small if name.startswith(("torch", "nvidia-", "triton"))}
    assert "ultralytics" not in image("base")
    assert "ultralytics" in image("detector")


@pytest.mark.parametrize("name", IMAGES)
def test_one_opencv_wheel_and_it_is_headless(name: str) -> None:
    assert {each for each in image(name) if each.startswith("opencv")} == {"opencv-python-headless"}


def test_every_import_of_the_jobs_is_installed_in_the_detector_image() -> None:
    """But for what the exit handler tells people with, which is put on the small image alone, and exports to ONNX."""
    missing = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / "jobs").rglob("*.py")
        for name in third_party(path)
        if not is_installed(name, image("detector"))
    }
    assert missing == {
        "jobs/tools/notify.py imports apprise",
        "jobs/nets/onnx/convert.py imports onnx",
        "jobs/nets/onnx/sessions.py imports onnxruntime",
    }


def files_behind(module: str, seen: set[Path]) -> set[Path]:
    """The files of jobs that a module stands on: its parents, and whatever these import at any depth of their code."""
    for depth in range(1, module.count(".") + 2):
        path = ROOT.joinpath(*module.split(".")[:depth])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if file.is_file() and file not in seen:
            seen.add(file)
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    for alias in node.names:
                        files_behind(alias.name, seen)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    for alias in node.names:
                        files_behind(f"{node.module}.{alias.name}", seen)
    return seen


def test_the_exit_handler_has_all_that_it_imports() -> None:
    installed = image("small") | image("notify")
    seen: set[Path] = set()
    files_behind("jobs.tools.notify", seen)
    modules = {name for path in seen for name in third_party(path) if not is_installed(name, installed)}
    assert modules == set()
    same = image("small").keys() & image("notify").keys()
    assert all(image("small")[name] == image("notify")[name] for name in same), "nothing is installed twice"


@pytest.mark.slow
def test_small_image_has_all_that_its_stages_import() -> None:
    seen: set[Path] = set()
    for module in ("jobs.runtime.stage", *(stage.module for stage in SMALL_STAGES)):
        files_behind(module, seen)
    missing = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in seen
        for name in third_party(path)
        if not is_installed(name, image("small"))
    }
    # Imported inside functions that only a training calls, or only where PyTorch is imported already.
    assert missing == {
        "jobs/nets/weights/pretrained.py imports safetensors",
        "jobs/nets/weights/pretrained.py imports torch",
        "jobs/runtime/context.py imports torch",
        "jobs/runtime/failures/hardware.py imports torch",
        "jobs/runtime/telemetry/trackers/event_file.py imports tensorboard",
        "jobs/runtime/telemetry/trackers/mlflow_run.py imports mlflow",
        "jobs/runtime/telemetry/trackers/wandb_run.py imports wandb",
    }
