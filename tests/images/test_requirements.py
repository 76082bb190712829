import ast
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker

from jobs.contract.names import Stage

ROOT = Path(__file__).parents[2]
IMAGES = ("small", "base", "detector")
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
    sources = metadata.packages_distributions()
    installed = {name.replace("_", "-") for name in image("detector")}
    missing = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / "jobs").rglob("*.py")
        for name in third_party(path)
        if not installed & {each.lower().replace("_", "-") for each in sources.get(name, [])}
    }
    assert missing == set()


@pytest.mark.slow
def test_small_image_can_import_its_stages() -> None:
    modules = ["jobs.__main__", "jobs.runtime.stage", *(stage.module for stage in SMALL_STAGES)]
    code = f"""
import importlib, sys
from importlib import metadata
lock = {set(image("small"))!r}
sources = metadata.packages_distributions()
class OnlySmall:
    def find_spec(self, name, path=None, target=None):
        dists = {{each.lower().replace("_", "-") for each in sources.get(name.split(".")[0], [])}} - {{"cxrfold"}}
        if dists and not dists & lock:
            raise ModuleNotFoundError(f"{{name}} is not in the small image")
sys.meta_path.insert(0, OnlySmall())
for module in {modules!r}:
    importlib.import_module(module)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
