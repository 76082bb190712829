"""Upload a folder of films to the store, under its content hash: sent once, and resumable."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jobs.contract.exits import BadInput
from jobs.contract.stored import layout
from jobs.contract.stored.digest import digest

if TYPE_CHECKING:
    from jobs.runtime.store import Store

WORKERS: Final = 16


def upload(folder: Path, store: "Store", say: Callable[[str], None]) -> str:
    """Upload the files of a folder that the store does not have yet.

    Args:
        folder: the films and their label files.
        store: the run's store.
        say: called with each line of progress.

    Returns:
        The folder's address in the store; the same files give the same address.

    Raises:
        BadInput: the folder is empty, or a name cannot be a key of S3.
    """
    from jobs.runtime.store import sha256_of

    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    if not files:
        raise BadInput(f"{folder}: the folder has no file to upload")
    if odd := [path for path in files if not str(path.relative_to(folder)).isprintable()]:
        raise BadInput(f"{folder}: {odd[0].name!a} cannot be a key of S3: rename it to printable UTF-8")
    say(f"Reading {len(files)} files under {folder}")
    with ThreadPoolExecutor(WORKERS) as pool:
        hashes = dict(
            zip((path.relative_to(folder).as_posix() for path in files), pool.map(sha256_of, files), strict=True)
        )
        prefix = layout.source_upload(digest(hashes))
        # S3 stores an object whole or not at all, so its size shows whether it was sent before.
        stored = {entry.key: entry.size for entry in store.list(f"{prefix}/")}
        keys = {path: f"{prefix}/{path.relative_to(folder).as_posix()}" for path in files}
        missing = [path for path in files if stored.get(keys[path]) != path.stat().st_size]
        size = sum(path.stat().st_size for path in missing)
        if missing:
            say(f"Uploading {len(missing)} of {len(files)} files, {size / 1e6:.0f} MB, to {store.url}/{prefix}")
        list(pool.map(lambda path: store.upload(path, keys[path]), missing))
    return f"{store.url}/{prefix}"
