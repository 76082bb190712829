"""Fetch a run's results into a folder of plain files: report, weights, out-of-fold tables and the tracker's files."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from jobs.contract.exits import BadInput
from jobs.contract.stored import layout
from jobs.contract.stored.records import Done, Output, Reference
from workflows.runs.run import Run
from workflows.runs.tracker_files import unpack

# Kinds of works to fetch. Prepare's packs are left out: they are large and only repeat the films.
KINDS: Final = ("weights", "oof", "predictions", "search")
AT_ONCE: Final = 4


def fetch(run: Run, folder: Path, say: Callable[[str], None]) -> list[Path]:
    """Download a run's results into a folder; outputs already there with the stored content are not downloaded again.

    Args:
        run: the run; if it is unfinished, the results so far are fetched.
        folder: the root. It holds the run's own files; a task's are under ``<stage>/<model>/fold-<k>/``, the
            tracker's files of all tasks under ``tracker/``.
        say: receives a line per downloaded file.

    Returns:
        All files, including those already there.

    Raises:
        BadInput: the store has no results of the run, or the disk is full.
        Damaged: an object differs from what was stored.
    """
    wanted = dict(_files(run, folder))
    if not wanted:
        raise BadInput(f"Run {run.name} has no results in {run.store.url} yet: cv.py status {run.name}.")

    def one(path: Path, what: Output | str) -> Path:
        if not _is_there(path, what):
            run.store.download(what, path)
            say(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
        return path

    with ThreadPoolExecutor(AT_ONCE) as pool:
        files = list(pool.map(one, wanted, wanted.values()))
    unpack([file for file in files if file.suffix == ".gz"], folder)
    return files


def _files(run: Run, folder: Path) -> Iterator[tuple[Path, Output | str]]:
    """Yield local paths, each with a task's stored output or the key of one of the run's own files."""
    store, root = run.store, f"{layout.run(run.name)}/"
    keys = [entry.key for entry in store.list(root)]
    trackers = layout.latest_trackers(keys)
    references = {layout.reference(run.name, task.id): task.id for task in run.tasks}
    for key in keys:
        if key in references:
            continue
        below = key.removeprefix(root)
        if "/" not in below or key in trackers:
            yield folder / below, key
    for key, task in references.items():
        if key not in keys:
            continue
        reference = store.get_record(key, Reference)
        for kind, digest in reference.works.items():
            if kind in KINDS:
                done = store.get_record(layout.done(layout.work(reference.stage, digest)), Done)
                yield from ((folder / task.path / name, output) for name, output in done.outputs.items())


def _is_there(path: Path, what: Output | str) -> bool:
    """Return whether the file has the stored content; False for the run's own files, which may have been replaced."""
    from jobs.runtime.store import sha256_of

    if isinstance(what, str) or not path.is_file() or path.stat().st_size != what.size:
        return False
    return sha256_of(path) == what.sha256
