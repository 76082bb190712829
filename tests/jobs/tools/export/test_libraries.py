"""The libraries of an export: complete, at the versions and hashes of the lock."""

import sys

import pytest

from jobs.tools.export.code import ROOT
from jobs.tools.export.libraries import LOCK, needed_libraries


def test_what_a_library_needs_is_included_with_the_hashes_of_the_lock():
    libraries = {one.name: one for one in needed_libraries({"pandas", "opencv-python-headless"}, ROOT.parent / LOCK)}
    assert {"pandas", "numpy", "python-dateutil", "six", "opencv-python-headless"} <= libraries.keys()
    assert all(one.hashes for one in libraries.values())
    assert str(libraries["numpy"]).startswith("numpy==")
    assert "python" not in libraries["numpy"].marker, "the lock's other numpy is for other Pythons"


def test_what_is_not_installed_on_purpose_is_left_out():
    names = {one.name for one in needed_libraries({"ultralytics"}, ROOT.parent / LOCK)}
    assert "torch" in names
    assert "opencv-python" not in names


@pytest.mark.skipif(sys.platform != "linux", reason="PyTorch needs CUDA's libraries on Linux alone")
def test_libraries_by_extras_are_included_for_the_platforms_that_need_them():
    libraries = {one.name: one for one in needed_libraries({"torch"}, ROOT.parent / LOCK)}
    assert libraries["nvidia-cublas"].marker == " ; sys_platform == 'linux'"


def test_a_version_that_is_not_locked_has_no_hashes(tmp_path):
    lock = tmp_path / "lock.txt"
    lock.write_text("six==0.1 \\\n    --hash=sha256:00\n")
    (six,) = needed_libraries({"six"}, lock)
    assert (six.hashes, six.marker) == ((), "")
    assert six.version != "0.1"
