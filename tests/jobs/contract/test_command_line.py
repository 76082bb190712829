"""The edge of both command lines, from the outside."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.contract.command_line import explain
from jobs.contract.exits import Exit

ROOT = Path(__file__).parents[3]
CV = [sys.executable, str(ROOT / "workflows" / "cv.py")]
JOBS = [sys.executable, "-m", "jobs"]


def call(command, *, environment=None, redirect=""):
    """Run a command in a shell; return its exit code and its whole output."""
    text = f'"$@" {redirect}'
    done = subprocess.run(
        ["bash", "-c", text, "bash", *command], cwd=ROOT, env={**os.environ, **(environment or {})}, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout.decode(errors="replace")


@pytest.mark.parametrize("command", [[*CV, "render", "-e"], [*JOBS, "score", "--labels", ".", "--predictions"]])
def test_an_argument_that_does_not_decode_is_refused(command):
    code, output = call([*command, b"caf\xe9"])
    assert code == Exit.BAD_INPUT
    assert "is not UTF-8" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("redirect", ["<&-", "<&- >/dev/null 2>&-", ">&- 2>&-"])
def test_closed_standard_streams_change_nothing(redirect, tmp_path):
    out = tmp_path / "file"
    script = (
        f"from jobs.contract import command_line as c; import sys; c.run(lambda: open({str(out)!r}, 'w').write('x'))"
    )
    code, _ = call([sys.executable, "-c", script + "; print('to stdout'); print('to stderr', file=sys.stderr)"],
                   redirect=redirect)  # fmt: skip
    assert code == 0
    assert out.read_text() == "x"


def test_the_c_locale_changes_nothing():
    plain = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    code, output = call([*CV, "recipes"], environment=plain)
    assert code == 0
    assert "Traceback" not in output


def test_a_full_disk_a_folder_without_access_and_a_broken_link_are_sentences(tmp_path):
    script = "import sys; from jobs.contract import command_line as c; c.run(lambda: eval(sys.argv[1]))"

    def says(code_text):
        code, output = call([sys.executable, "-c", script, code_text])
        assert code == Exit.BAD_INPUT
        assert "Traceback" not in output
        return output

    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "file")
    assert f"{tmp_path}/link is a link to nothing" in says(f"open('{tmp_path}/link', 'w')")
    assert f"{tmp_path}/link is a link to nothing" in says(
        f"__import__('pathlib').Path('{tmp_path}/link').mkdir(exist_ok=True)"
    )
    assert f"{tmp_path}: Is a directory. Name a file." in says(f"open('{tmp_path}', 'w')")
    assert "Not a directory. Name a folder." in says("open('/etc/hostname/x')")


def test_an_error_that_may_be_a_bug_is_not_explained():
    assert explain(FileNotFoundError(errno.ENOENT, "No such file or directory", "missing.json")) is None
    assert explain(ConnectionRefusedError(errno.ECONNREFUSED, "refused")) is None
    assert explain(PermissionError(errno.EPERM, "not permitted")) is None
    for code in (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES):
        assert os.strerror(code) in str(explain(OSError(code, os.strerror(code), "file")))
