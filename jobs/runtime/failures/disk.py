"""Disks that are full, read-only or not accessible."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.contract import command_line
from jobs.contract.exits import BadInput


@contextmanager
def room_in(*folders: Path) -> Iterator[None]:
    """Raise a clear error where a file in one of these folders or in TMPDIR cannot be written.

    Raises:
        BadInput: the disk is full, read-only or not accessible; names the path, or the folder with the least space.
    """
    try:
        yield
    except Exception as error:
        explained = command_line.explain(error) if isinstance(error, OSError) and error.filename else None
        # Matched by text: pydicom re-raises the error without its errno, safetensors raises its own type.
        if explained is None and os.strerror(errno.ENOSPC) in str(error):
            explained = _full([*folders, Path(tempfile.gettempdir())])
        if explained is None:
            raise
        raise explained from error


def _full(folders: list[Path]) -> BadInput:
    free = {folder: shutil.disk_usage(folder).free for folder in folders if folder.exists()}
    fullest = min(free, key=lambda folder: free[folder])
    return BadInput(
        f"The disk is full: {free[fullest] >> 20} MiB are left in {fullest}. Make room there, or use a larger disk."
    )
