"""Keeps what the films' tags say of patients and machines, in a table beside the index.

It is work of its own: datasets that were prepared before get the table without decoding a film again, and the index,
whose hash identifies the dataset, does not depend on it. Each shard has its part, so a film that is added reads the
tags of one shard.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Final

import pandas as pd

from jobs.contract.stored.records import Done
from jobs.films.descriptions import DESCRIPTIONS
from jobs.films.dicom.decoding import windowed
from jobs.films.dicom.description import Description, describe
from jobs.films.dicom.tags import HEAD, read_tags
from jobs.films.film_files import FilmFile
from jobs.prepare.shards import Shard
from jobs.prepare.sources import Source
from jobs.runtime.context import Context
from jobs.runtime.work import Work, fetch

# Raise by hand when the same films lead to another table.
VERSION: Final = 1
TAGS: Final = "tags.json"
THREADS: Final = 16  # headers read at once
AHEAD: Final = 64


def describe_films(context: Context, source: Source, shards: list[Shard]) -> Done:
    """Return the record of the table: a row per film, sorted by image, with ``image`` and a column per tag."""
    parts = [context.work("tags", {"version": VERSION, "films": shard.facts.digest}) for shard in shards]
    found = [part.done() for part in parts]
    films = sum(len(shard.films) for shard in shards)
    missing = sum(len(shard.films) for shard, done in zip(shards, found, strict=True) if done is None)
    if missing:
        context.progress.phase("reading tags", steps=films, start=films - missing)
    tags = [
        done or _read_shard(context, source, shard, part)
        for shard, part, done in zip(shards, parts, found, strict=True)
    ]

    def make(work: Work) -> Done:
        files = (fetch(context.store, done.outputs[TAGS], context.cache) for done in tags)
        rows = [row for file in files for row in json.loads(file.read_text())]
        path = context.scratch / DESCRIPTIONS
        pd.DataFrame(rows).sort_values("image").to_parquet(path, index=False, compression="zstd")
        return work.finish({DESCRIPTIONS: path}, {}, context.cost())

    return context.once("descriptions", {"version": VERSION, "tags": [done.digest for done in tags]}, make)


def _read_shard(context: Context, source: Source, shard: Shard, work: Work) -> Done:
    """Read the tags of a shard's films and store them."""
    rows = []
    with ThreadPoolExecutor(THREADS) as pool:
        read = windowed(pool, partial(_read_tags, source), shard.films, AHEAD, context.stop.check)
        for film, found in zip(shard.films, read, strict=True):
            rows.append({"image": film.image, **asdict(found)})
            context.progress.step(films=1)
    path = context.scratch / TAGS
    path.write_text(json.dumps(rows))
    done = work.finish({TAGS: path}, {}, context.cost())
    context.progress.saved()
    return done


def _read_tags(source: Source, film: FilmFile) -> Description:
    try:
        tags = read_tags(source.read(film.path, HEAD), lambda: source.read(film.path, None))
    except ValueError:
        return Description()  # its pixels were decoded, so the film is usable without its tags
    return describe(tags)
