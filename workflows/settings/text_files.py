"""Read the text files that a user gives: experiments, profiles, overlays, kubeconfigs."""

import os
import stat
from pathlib import Path
from typing import Final

from jobs.contract.exits import BadInput

LARGEST: Final = 4 << 20  # bytes; the largest recipe has 3 KiB, a kubeconfig of 500 clusters about 2 MiB


def read_text(file: Path) -> str:
    """Return the text of a file.

    Raises:
        BadInput: it does not exist, cannot be read, is no regular file, is too large, or is not UTF-8.
    """
    try:
        # Opening a FIFO would block until somebody writes to it.
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise BadInput(f"{file}: is no regular file; name a text file")
            data = opened.read(LARGEST + 1)
    except FileNotFoundError as error:
        broken = file.is_symlink()
        raise BadInput(f"{file}: " + ("the link points to nothing" if broken else "there is no such file")) from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if len(data) > LARGEST:
        raise BadInput(f"{file}: is larger than {LARGEST >> 20} MiB; is it the right file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{file}:{line}: is not UTF-8 ({error.reason}); save the file as UTF-8") from error
