"""Shards: groups of up to 256 films with their own pieces of work, so that an interrupted prepare resumes at a shard.

A hash of its id decides which shard a film is in, so a film that is added, changed or removed makes one shard anew and
leaves the others as they are in the store. A shard has one piece of work for facts and thumbnails and one per size for
pixels. Their inputs are the films alone, so another split, other labels or an additional size decode nothing again.
"""

import hashlib
import json
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from jobs.contract.stored.digest import settings
from jobs.contract.stored.records import Done
from jobs.films.dataset import SHARD, save_array
from jobs.films.dicom.decoding import Decoded, DecodeRequest, decode_all, windowed
from jobs.films.film_files import FilmFile
from jobs.films.prepared import FACTS, THUMBNAILS
from jobs.films.problems import refuse
from jobs.prepare.sources import Source
from jobs.runtime.context import Context
from jobs.runtime.work import Work

# Raise by hand when the same films lead to other pixels or facts.
VERSION: Final = 2
PIXELS: Final = "pixels.npy"
DOWNLOADS: Final = 16  # parallel downloads
AHEAD: Final = 48  # films downloaded ahead of decoding


@dataclass
class Shard:
    """A group of films and its work."""

    films: list[FilmFile]
    facts: Work
    packs: dict[int, Work]  # size → work
    done: dict[Work, Done]

    @property
    def finished(self) -> bool:
        """Whether all its work is done."""
        return all(work in self.done for work in (self.facts, *self.packs.values()))

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes that are not done yet."""
        return tuple(size for size, work in self.packs.items() if work not in self.done)


def make_shards(context: Context, source: Source, films: list[FilmFile], sizes: tuple[int, ...]) -> list[Shard]:
    """Return all shards with their work done at some sizes, decoding only the films of unfinished ones.

    Raises:
        BadInput: films cannot be read; lists all of them. Shards without such films are kept.
        Stopped: the task was asked to stop; finished shards are kept.
    """
    shards = [_shard(context, dealt, sizes) for dealt in deal(films)]
    todo = [shard for shard in shards if not shard.finished]
    count = sum(len(shard.films) for shard in todo)
    if todo:
        context.progress.phase("decoding", steps=len(films), start=len(films) - count)
        problems: list[str] = []
        with closing(_decode(source, todo, context)) as decoded:
            for shard in todo:
                problems += _finish(context, shard, decoded)
        refuse(f"The films in {source.name}", problems, "Replace these files, or remove them and their labels.")
    context.progress.say(
        f"{source.name}: {len(films)} films, {count} of them decoded; shards made: {len(todo)}, taken over: "
        f"{len(shards) - len(todo)}"
    )
    return shards


def deal(films: list[FilmFile], bit: int = 0) -> list[list[FilmFile]]:
    """Deal films to shards by the hashes of their ids; within a shard they keep their order.

    Films that are too many for a shard are halved by a bit of their hashes, and each half likewise by the next bit. So
    the shards depend on the set of films alone; a film that is added joins one shard, or halves a full one.

    Args:
        films: films with distinct ids.
        bit: the first bit to halve by.
    """
    if len(films) <= SHARD:
        return [films] if films else []
    halves: tuple[list[FilmFile], list[FilmFile]] = ([], [])
    for film in films:
        halves[_hash(film) >> bit & 1].append(film)
    return [shard for half in halves for shard in deal(half, bit + 1)]


def _hash(film: FilmFile) -> int:
    return int.from_bytes(hashlib.sha256(film.image.encode()).digest(), "little")


def _shard(context: Context, films: list[FilmFile], sizes: tuple[int, ...]) -> Shard:
    named = {
        "version": VERSION,
        "films": [[film.image, film.path, film.fingerprint] for film in films],
        **settings(context.experiment.data, only={"halve_from"}),
    }
    facts = context.work("facts", named)
    packs = {size: context.work("pixels", {**named, "size": size}) for size in sizes}
    done = {work: record for work in (facts, *packs.values()) if (record := work.done())}
    return Shard(films, facts, packs, done)


def _decode(source: Source, shards: list[Shard], context: Context) -> Generator[Decoded, None, None]:
    """Download and decode the films of shards, in order; a film's file is released once it is decoded."""

    def task(film: FilmFile, sizes: tuple[int, ...]) -> DecodeRequest:
        return DecodeRequest(source.fetch(film), f"{source.name}/{film.path}", sizes, halve_from)

    halve_from = context.experiment.data.halve_from
    films = ((film, shard.sizes) for shard in shards for film in shard.films)
    with ThreadPoolExecutor(DOWNLOADS) as downloads:
        check = context.stop.check
        requests = windowed(downloads, lambda film: task(*film), films, AHEAD, check)
        for decoded in decode_all(requests, context.threads, check):
            source.release(decoded.path)
            yield decoded


def _finish(context: Context, shard: Shard, decoded: Iterator[Decoded]) -> list[str]:
    """Collect a shard's decoded films and store them; returns the problems of films that cannot be read."""
    films: list[Decoded] = []
    pixels = {size: np.empty((len(shard.films), size, size), np.uint8) for size in shard.sizes}
    for number in range(len(shard.films)):
        context.stop.check()
        film = next(decoded)
        for size, square in (film.squares or {}).items():
            pixels[size][number] = square
        films.append(replace(film, squares=None))
        context.progress.step(films=1)
    if problems := [film.problem for film in films if film.problem]:
        return problems
    with TemporaryDirectory(dir=context.scratch) as name:
        folder = Path(name)
        (folder / FACTS).write_text(json.dumps([astuple(film.facts) for film in films if film.facts]))
        save_array(folder / THUMBNAILS, np.stack([film.thumbnail for film in films if film.thumbnail is not None]))
        for size, squares in pixels.items():
            save_array(folder / f"{size}-{PIXELS}", squares)
            _store(context, shard, shard.packs[size], {PIXELS: folder / f"{size}-{PIXELS}"})
        if shard.facts not in shard.done:
            _store(context, shard, shard.facts, {name: folder / name for name in (FACTS, THUMBNAILS)})
    return []


def _store(context: Context, shard: Shard, work: Work, outputs: dict[str, Path]) -> None:
    shard.done[work] = work.finish(outputs, {}, context.cost())
