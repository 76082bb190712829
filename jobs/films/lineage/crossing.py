"""Films of one index that are, or resemble, films of another: by image, pixels, study, patient or near-duplicate."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.contract.exits import BadInput
from jobs.contract.names import Stage
from jobs.contract.stored.records import Done
from jobs.films.dataset import read_index
from jobs.films.prepared import read_facts
from jobs.films.splitting.duplicates import blank, near_duplicates_between
from jobs.runtime.context import Context
from jobs.runtime.work import Work, fetch

# Raise by hand when the same films lead to other matches.
VERSION: Final = 1
CROSSING: Final = "crossing.json"

# How two films match, the surest first.
REASONS: Final = ("is the same film as", "has the pixels of", "is of the study of", "is of the patient of",
                  "is a near-duplicate of")  # fmt: skip


@dataclass(frozen=True)
class IndexedFilms:
    """Films of an index, with what tells whether two films are the same.

    Attributes:
        rows: the index.
        tags: (n,) the PatientID of each film's file; None where it has none.
        thumbnails: (n, 64, 64).
    """

    rows: pd.DataFrame
    tags: list[str | None]
    thumbnails: NDArray[np.uint8]


@dataclass(frozen=True)
class Crossing:
    """Films of another index that match films of the run's own.

    Attributes:
        folds: image of the other index → its fold there, for all of its films.
        matches: image of the other index → fold of the own index → a sentence that names the two films. All films of a
            group (patient, study, near-duplicates) match where one of them does.
    """

    folds: dict[str, int]
    matches: dict[str, dict[int, str]]

    def matching(self, fold: int, images: Iterable[str]) -> dict[str, str]:
        """Return which of the images match films of a fold of the own index: image → sentence."""
        return {image: self.matches[image][fold] for image in images if fold in self.matches.get(image, {})}


class Crossings:
    """A run's own index against others. Prepare makes the comparisons; every later stage requires them.

    Args:
        context: the attempt.
        own: digest of the index of the run's films.
    """

    def __init__(self, context: Context, own: str) -> None:
        self.context, self.own = context, own
        self.made: list[str] = []  # digests of the comparisons used

    def against(self, other: str) -> Crossing:
        """Return the comparison with another index, by its digest.

        Raises:
            BadInput: prepare has not made it.
        """
        store = self.context.store
        duplicates = self.context.experiment.data.duplicates
        inputs = {"version": VERSION, "own": self.own, "other": other, "duplicates": duplicates}
        work = Work(store, Stage.PREPARE, "crossing", inputs)
        self.context.progress.uses(work.prefix)
        done = work.done()
        if done is None and self.context.task.stage is not Stage.PREPARE:
            raise BadInput(
                f"Prepare of run {self.context.run} has not compared its films with those of the weights or labels "
                "that this task starts from: they have changed since. Resume the run."
            )
        done = done or self._compare(work, other)
        if done.digest not in self.made:
            self.made.append(done.digest)
        return _read(fetch(store, done.outputs[CROSSING], self.context.cache))

    def _compare(self, work: Work, other: str) -> Done:
        context = self.context
        context.progress.phase("comparing films")
        own, others = (read_films(context, digest) for digest in (self.own, other))
        crossing = compare(own, others, context.experiment.data.duplicates)
        path = context.scratch / CROSSING
        path.write_text(json.dumps({"folds": crossing.folds, "matches": crossing.matches}, indent=1))
        return work.finish({CROSSING: path}, {}, context.cost())


def read_films(context: Context, index: str) -> IndexedFilms:
    """Fetch an index with its films' tags and thumbnails, by the index's digest.

    Raises:
        BadInput: it was deleted from the store.
    """
    _, done = context.open_work(Stage.PREPARE, index)
    rows = read_index(fetch(context.store, done.outputs["index.parquet"], context.cache))
    shards = (context.open_work(Stage.PREPARE, digest)[1] for digest in done.inputs["films"])
    facts, thumbnails = read_facts(context, shards, rows["image"])
    return IndexedFilms(rows, [fact.patient for fact in facts], thumbnails)


def compare(own: IndexedFilms, other: IndexedFilms, duplicates: float) -> Crossing:
    """Find the films of ``other`` that match films of ``own``.

    Args:
        own: films with folds; -1 for films beside the folds.
        other: other films, or the same ones in another split.
        duplicates: correlation of pixels above which two films count as the same.
    """
    groups, folds = other.rows["group"].to_numpy(), own.rows["fold"].to_numpy()
    images, own_images = other.rows["image"].to_numpy(), own.rows["image"].to_numpy()
    found: dict[int, dict[int, str]] = {}
    for reason, one, another in _matches(own, other, duplicates):  # the surest first
        sentence = f"{images[one]} {reason} {own_images[another]}"
        found.setdefault(int(groups[one]), {}).setdefault(int(folds[another]), sentence)
    matches = {
        str(image): found[int(group)] for image, group in zip(images, groups, strict=True) if int(group) in found
    }
    return Crossing(dict(zip(map(str, images), map(int, other.rows["fold"]), strict=True)), matches)


def _matches(own: IndexedFilms, other: IndexedFilms, duplicates: float) -> Iterator[tuple[str, int, int]]:
    """Yield reason, row of ``other`` and row of ``own``, the surest first, one row of each own fold at most."""
    solid = ~blank(own.thumbnails)  # blank films have the same pixels and nothing else in common
    pixels = own.rows["pixels_sha256"].where(pd.Series(solid, own.rows.index))
    patients = [_values(films.rows["patient"], pd.Series(films.tags, dtype=object)) for films in (own, other)]
    keys = (
        (own.rows["image"], other.rows["image"]),
        (pixels, other.rows["pixels_sha256"]),
        (own.rows["study"], other.rows["study"]),
    )
    for reason, (mine, theirs) in zip(REASONS, keys, strict=False):
        yield from ((reason, one, another) for one, another in _equal(mine, theirs, own.rows["fold"]))
    for mine in patients[0]:
        for theirs in patients[1]:
            yield from ((REASONS[3], one, another) for one, another in _equal(mine, theirs, own.rows["fold"]))
    for pair in near_duplicates_between(other.thumbnails, own.thumbnails, duplicates):
        yield REASONS[4], pair.one, pair.other


def _values(*columns: "pd.Series[Any]") -> "list[pd.Series[Any]]":
    return [column.reset_index(drop=True) for column in columns]


def _equal(own: "pd.Series[Any]", other: "pd.Series[Any]", folds: "pd.Series[Any]") -> Iterator[tuple[int, int]]:
    """Yield row of ``other`` and row of ``own`` with equal values: the first own row of each value and fold."""
    first = pd.DataFrame({"value": own.to_numpy(), "fold": folds.to_numpy(), "own": np.arange(len(own))})
    first = first.dropna(subset=["value"]).drop_duplicates(["value", "fold"])
    theirs = pd.DataFrame({"value": other.to_numpy(), "other": np.arange(len(other))}).dropna(subset=["value"])
    joined = theirs.merge(first, on="value")
    yield from zip(joined["other"].tolist(), joined["own"].tolist(), strict=True)


def _read(path: Path) -> Crossing:
    stored: Mapping[str, Any] = json.loads(path.read_text())
    matches = {image: {int(fold): text for fold, text in one.items()} for image, one in stored["matches"].items()}
    return Crossing(stored["folds"], matches)
