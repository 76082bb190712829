"""Fetch the dataset that a run's prepare stage stored into a local folder."""

import os
from collections.abc import Iterable
from pathlib import Path

from jobs.contract.exits import BadInput
from jobs.contract.names import Stage
from jobs.contract.records import Output
from jobs.films.dataset import Dataset
from jobs.runtime.context import Context
from jobs.runtime.store import Store
from jobs.runtime.work import fetch


def fetch_dataset(context: Context, sizes: Iterable[int]) -> Dataset:
    """Fetch the run's dataset at the given sizes in pixels; files in the local cache are not fetched again.

    Raises:
        BadInput: prepare has not run, or did not make one of the sizes.
    """
    works = context.prepared.works
    _, index = context.open_work(Stage.PREPARE, works["index"])
    file = index.outputs["index.parquet"]
    folder = context.cache / "datasets" / file.sha256
    _place(context.store, file, context.cache, folder / "index.parquet")
    for size in sizes:
        if (kind := f"pack-{size}") not in works:
            raise BadInput(f"prepare of run {context.run} made no {kind}: resume the run, or run prepare again.")
        _, pack = context.open_work(Stage.PREPARE, works[kind])
        for name, output in pack.outputs.items():
            _place(context.store, output, context.cache, folder / kind / name)
    return Dataset(folder)


def _place(store: Store, output: Output, cache: Path, path: Path) -> None:
    """Link the cached object under its name in the dataset. Safe for several processes at once."""
    target = fetch(store, output, cache)
    if path.resolve() != target.resolve():
        path.parent.mkdir(parents=True, exist_ok=True)
        link = path.with_name(f".{path.name}.{os.getpid()}")
        link.symlink_to(target.resolve())
        link.replace(path)
