"""Wheels of an export, from an index of a folder."""

import hashlib
import platform
import zipfile

import pytest

from jobs.contract.exits import BadInput, ServiceAway
from jobs.tools.export.libraries import Library
from jobs.tools.export.wheels import download_wheels


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder with one wheel, the only index that pip knows."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "lib-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("lib.py", "")
        wheel.writestr("lib-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: lib\nVersion: 1.0\n")
        wheel.writestr("lib-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("lib-1.0.dist-info/RECORD", "")
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    return folder


def locked(content: bytes, name: str = "lib") -> Library:
    return Library(name, "1.0", "", (f"--hash=sha256:{hashlib.sha256(content).hexdigest()}",))


@pytest.mark.slow
def test_wheels_are_those_of_the_lock_for_this_python(index, tmp_path):
    (wheel,) = index.iterdir()
    said = download_wheels([locked(wheel.read_bytes())], tmp_path / "wheels")
    assert [file.read_bytes() for file in (tmp_path / "wheels").iterdir()] == [wheel.read_bytes()]
    major, minor, _ = platform.python_version_tuple()
    assert f" {major}.{minor} on {platform.system()}" in said


@pytest.mark.slow
def test_another_file_than_the_locks_is_refused(index, tmp_path):
    with pytest.raises(ServiceAway, match="THESE PACKAGES DO NOT MATCH THE HASHES"):
        download_wheels([locked(b"other")], tmp_path / "wheels")
    assert not list(tmp_path.glob("wheels/*"))


@pytest.mark.slow
def test_an_index_without_the_wheel_is_named_by_pips_sentence(index, tmp_path):
    with pytest.raises(ServiceAway, match=r"could not be downloaded .*nowhere==1\.0.*leave out --wheels"):
        download_wheels([locked(b"", "nowhere")], tmp_path / "wheels")


def test_a_library_that_is_not_locked_is_refused_before_anything_is_downloaded(tmp_path):
    with pytest.raises(BadInput, match=r"^lib==1.0: installed here, but not the version of requirements/dev.txt"):
        download_wheels([Library("lib", "1.0")], tmp_path / "wheels")
    assert not (tmp_path / "wheels").exists()
