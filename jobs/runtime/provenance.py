"""Revision of the code and versions of the libraries that made a result."""

import os
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

from jobs.contract import environment

LIBRARIES: Final = (
    "torch", "timm", "ultralytics", "albumentations", "numpy", "opencv-python-headless", "pandas",
    "pydicom", "imagecodecs", "scikit-learn", "safetensors", "boto3", "pydantic",
)  # fmt: skip


@cache
def revision() -> str:
    """The code's git revision: from the image, else from git, with ``-dirty`` where the checkout has changes."""
    if baked := os.environ.get(environment.REVISION):
        return baked
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return described.stdout.strip() or "unknown"


@cache
def versions() -> dict[str, str]:
    """The versions of the installed libraries that a result depends on."""
    installed = {}
    for name in LIBRARIES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # not in this image, so the result cannot depend on it
    return installed
