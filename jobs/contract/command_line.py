"""The edge of both command lines: standard streams, arguments, and the exit code of an error."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from jobs.contract.exits import BadInput, StageError

# Errors of the machine or of a path that somebody gave; any other error of a file is a bug.
REMEDIES: Final = {
    errno.ENOSPC: "Make room there, or use a larger disk.",
    errno.EDQUOT: "Make room there, or raise the quota.",
    errno.EROFS: "Make it writable, or use another folder.",
    errno.EACCES: "Grant this user access to it, or use another folder.",
    errno.EPERM: "Grant this user access to it, or use another folder.",
    errno.EISDIR: "Name a file.",
    errno.ENOTDIR: "Name a folder.",
    errno.ELOOP: "Remove the link that points to itself.",
    errno.ENAMETOOLONG: "Use a shorter name.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n).",
    errno.ENFILE: "Close other programs: the machine has no more open files to give.",
}


def run(app: Callable[[], object]) -> None:
    """Run a command; print a :class:`StageError`, or an error of the machine's files, and exit with its code."""
    _open_standard_streams()
    try:
        _check_arguments()
        app()
    except StageError as error:
        _fail(error)
    except OSError as error:
        if (explained := explain(error)) is None:
            raise
        _fail(explained)


def explain(error: OSError) -> BadInput | None:
    """Return an error of the machine's files as a sentence; None for one that may be a bug."""
    if error.filename is None:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or "temporary directory" in str(error):
            return BadInput(f"{error.strerror}. Make room there, or set TMPDIR to a writable folder.")
        return None
    path = Path(os.fsdecode(error.filename))
    if error.errno in (errno.EEXIST, errno.ENOENT) and (broken := _broken_link(path)):
        return BadInput(f"{broken} is a link to nothing. Create what it points to, or remove the link.")
    if error.errno not in REMEDIES:
        return None
    return BadInput(f"{path}: {os.strerror(error.errno)}. {REMEDIES[error.errno]}")


def _broken_link(path: Path) -> Path | None:
    """The path, or the nearest folder above it, that is a link to nothing."""
    return next((one for one in (path, *path.parents) if one.is_symlink() and not one.exists()), None)


def _open_standard_streams() -> None:
    """Open on /dev/null what the caller has closed, so that no other file gets the number of a standard stream."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(null, True)
            setattr(sys, name, os.fdopen(null, mode, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        # A terminal may lack characters, e.g. in ISO 8859-1.
        if getattr(stream, "errors", None) == "strict":
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _check_arguments() -> None:
    for word in sys.argv[1:]:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise BadInput(f"The argument {word!a} is not UTF-8: write it in UTF-8, or rename the file.") from error


def _fail(error: StageError) -> NoReturn:
    print(error, file=sys.stderr)
    sys.exit(error.exit)
