"""Fetch the dataset that a run's prepare stage stored into a local folder."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jobs.contract.exits import BadInput
from jobs.contract.names import Stage
from jobs.contract.stored.records import Done, Output
from jobs.films.dataset import Dataset, positions
from jobs.films.dicom.film import Facts
from jobs.runtime.context import Context
from jobs.runtime.store import Store
from jobs.runtime.work import Work, fetch

# Raise by hand when the same films lead to another pack.
PACK_VERSION: Final = 2
FACTS: Final = "facts.json"
THUMBNAILS: Final = "thumbnails.npy"


def pack_work(store: Store, dataset: str, size: int) -> Work:
    """Return the work of a dataset's pack, finished or not.

    Args:
        store: the store.
        dataset: the dataset's hash.
        size: pixels a side.
    """
    inputs = {"version": PACK_VERSION, "dataset": dataset, "size": size}
    return Work(store, Stage.PREPARE, f"pack-{size}", inputs)


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


def fetch_other_dataset(context: Context, index: str, sizes: Iterable[int]) -> Dataset:
    """Fetch a dataset that another run's prepare made, by the digest of its index.

    Raises:
        BadInput: it was deleted from the store.
    """
    if index == context.prepared.works["index"]:
        return fetch_dataset(context, sizes)
    _, done = context.open_work(Stage.PREPARE, index)
    file = done.outputs["index.parquet"]
    folder = context.cache / "datasets" / file.sha256
    _place(context.store, file, context.cache, folder / "index.parquet")
    for size in sizes:
        work = pack_work(context.store, file.sha256, size)
        context.progress.uses(work.prefix)
        pack = work.done()
        if pack is None:
            raise BadInput(
                f"The films of dataset {file.sha256[:12]} at {size} pixels are no longer in the store: resume the run "
                "whose weights were trained on them."
            )
        for name, output in pack.outputs.items():
            _place(context.store, output, context.cache, folder / work.kind / name)
    return Dataset(folder)


def read_facts(
    context: Context, records: Iterable[Done], images: Iterable[str]
) -> tuple[list[Facts], NDArray[np.uint8]]:
    """Return the facts and the thumbnails (n, 64, 64) of films.

    Args:
        context: the attempt.
        records: of the films' shards.
        images: the films, in the order in which they are returned.
    """
    packed: list[str] = []
    facts: list[Facts] = []
    thumbnails = []
    for done in records:
        packed += [image for image, *_ in done.inputs["films"]]
        stored = fetch(context.store, done.outputs[FACTS], context.cache).read_text()
        facts += [Facts(*row) for row in json.loads(stored)]
        thumbnails.append(np.load(fetch(context.store, done.outputs[THUMBNAILS], context.cache)))
    order = positions(packed, images)
    return [facts[place] for place in order], np.concatenate(thumbnails)[order]


def _place(store: Store, output: Output, cache: Path, path: Path) -> None:
    """Link the cached object under its name in the dataset. Safe for several processes at once."""
    target = fetch(store, output, cache)
    if path.resolve() != target.resolve():
        path.parent.mkdir(parents=True, exist_ok=True)
        link = path.with_name(f".{path.name}.{os.getpid()}")
        link.symlink_to(target.resolve())
        link.replace(path)
