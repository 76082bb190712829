"""Downloads the wheels of an export's libraries, by the hashes of the lock file."""

import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from jobs.contract.exits import BadInput, ServiceAway
from jobs.tools.export.libraries import LOCK, Library


def download_wheels(libraries: Sequence[Library], to: Path) -> str:
    """Download the libraries' wheels for the Python and the platform of this process.

    pip takes them from the index that it is configured for, and refuses files whose hash the lock does not have.

    Args:
        libraries: all that are needed.
        to: the folder to write.

    Returns:
        What the wheels are for, e.g. ``CPython 3.11 on Linux x86_64``.

    Raises:
        BadInput: a library is installed at a version that is not locked.
        ServiceAway: pip cannot download them.
    """
    if unlocked := [str(library) for library in libraries if not library.hashes]:
        raise BadInput(
            f"{', '.join(unlocked)}: installed here, but not the version of {LOCK}, so wheels cannot be checked: "
            "install the locked versions, or leave out --wheels."
        )
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.writelines(f"{library} {' '.join(library.hashes)}\n" for library in libraries)
        requirements.flush()
        pip = subprocess.run(
            [
                sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
                "--no-deps", "--require-hashes", "--only-binary", ":all:", "--dest", str(to),
                "--requirement", requirements.name,
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    if pip.returncode:
        errors = [line for line in pip.stderr.splitlines() if line.startswith("ERROR:")] or pip.stderr.splitlines()
        reason = errors[-1].removeprefix("ERROR: ") if errors else f"exit code {pip.returncode}"
        raise ServiceAway(f"The wheels could not be downloaded ({reason}): try again, or leave out --wheels.")
    version = ".".join(platform.python_version_tuple()[:2])
    return f"{platform.python_implementation()} {version} on {platform.system()} {platform.machine()}"
