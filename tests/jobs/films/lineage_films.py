"""Indexed films for tests of what a training has seen: rows, and thumbnails of noise that resemble nothing."""

import json
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pandas as pd

from jobs.contract.names import STUDY_CLASSES, Stage
from jobs.contract.stored.records import Cost
from jobs.films.dataset import SCHEMA, index_bytes
from jobs.films.dicom.film import Facts
from jobs.films.lineage.crossing import IndexedFilms
from jobs.films.prepared import FACTS, THUMBNAILS
from jobs.runtime.store import Store
from jobs.runtime.work import Work

COST = Cost(seconds=0, peak_memory=0)


def films(name: str, count: int = 8, folds: int = 2) -> IndexedFilms:
    """Films of as many patients, two to a fold in turn; other names are other patients with other pixels."""
    rows = [
        {
            **dict.fromkeys(SCHEMA.names),
            "image": f"{name}{number}", "study": f"{name}-study{number}", "series": "s",
            "patient": f"{name}-patient{number}", "pixels_sha256": f"{name}{number}", "group": number,
            "fold": number % folds, "study_class": STUDY_CLASSES[number // 2 % 4], "boxes": [],
            "width": 64, "height": 64,
        }
        for number in range(count)
    ]  # fmt: skip
    noise = np.random.default_rng(list(name.encode())).integers(0, 255, (count, 8, 8))
    return IndexedFilms(pd.DataFrame(rows), [None] * count, np.kron(noise, np.ones((8, 8))).astype(np.uint8))


def store_films(store: Store, given: IndexedFilms, folder: Path) -> str:
    """Store films as prepare would; returns the digest of their index."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = [
        Facts(64, 64, tag, "", "", 8, False, 0, 0, pixels)
        for tag, pixels in zip(given.tags, given.rows["pixels_sha256"], strict=True)
    ]
    (folder / FACTS).write_text(json.dumps([astuple(fact) for fact in facts]))
    np.save(folder / THUMBNAILS, given.thumbnails)
    (folder / "index.parquet").write_bytes(index_bytes(given.rows))
    names = {name: folder / name for name in (FACTS, THUMBNAILS)}
    shard = Work(store, Stage.PREPARE, "facts", {"films": [[image, "", ""] for image in given.rows["image"]]}).finish(
        names, {}, COST
    )
    inputs = {"films": [shard.digest], "folds": list(map(int, given.rows["fold"]))}
    return (
        Work(store, Stage.PREPARE, "index", inputs).finish({"index.parquet": folder / "index.parquet"}, {}, COST).digest
    )
