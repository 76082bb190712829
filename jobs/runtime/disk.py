"""A disk without room."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.contract.exits import BadInput


@contextmanager
def room_in(*folders: Path) -> Iterator[None]:
    """Turn what a full disk makes of writing to one of these folders into a sentence.

    Raises:
        BadInput: there was no room.
    """
    try:
        yield
    except Exception as error:
        # By its words: pydicom raises the error anew without its number, safetensors as an error of its own.
        if os.strerror(errno.ENOSPC) not in str(error):
            raise
        fullest = min(folders, key=lambda folder: shutil.disk_usage(folder).free)
        left = shutil.disk_usage(fullest).free >> 20
        raise BadInput(
            f"The disk is full: {left} MiB are left in {fullest}. Make room there, or give the stage a larger one."
        ) from error
