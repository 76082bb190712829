"""Full disks."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.contract.exits import BadInput


@contextmanager
def room_in(*folders: Path) -> Iterator[None]:
    """Raise a clear error where a write to one of these folders fails because the disk is full.

    Raises:
        BadInput: the disk is full; names the folder with the least space.
    """
    try:
        yield
    except Exception as error:
        # Matched by text: pydicom re-raises the error without its errno, safetensors raises its own type.
        if os.strerror(errno.ENOSPC) not in str(error):
            raise
        fullest = min(folders, key=lambda folder: shutil.disk_usage(folder).free)
        left = shutil.disk_usage(fullest).free >> 20
        raise BadInput(
            f"The disk is full: {left} MiB are left in {fullest}. Make room there, or give the stage a larger one."
        ) from error
