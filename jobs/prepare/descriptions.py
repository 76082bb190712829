"""Keeps what the films' tags say of patients and machines, in a table beside the index.

It is work of its own: datasets that were prepared before get the table without decoding a film again, and the index,
whose hash identifies the dataset, does not depend on it.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Final

import pandas as pd

from jobs.contract.records import Done
from jobs.films.descriptions import DESCRIPTIONS
from jobs.films.dicom.decoding import windowed
from jobs.films.dicom.description import Description, describe
from jobs.films.dicom.tags import HEAD, read_tags
from jobs.films.film_files import FilmFile
from jobs.prepare.shards import Shard
from jobs.prepare.sources import Source
from jobs.runtime.context import Context
from jobs.runtime.work import Work

# Raise by hand when the same films lead to another table.
VERSION: Final = 1
THREADS: Final = 16  # headers read at once
AHEAD: Final = 64


def describe_films(context: Context, source: Source, films: list[FilmFile], shards: list[Shard]) -> Done:
    """Return the record of the table: a row per film, in their order, with ``image`` and a column per tag."""
    inputs = {"version": VERSION, "films": [shard.facts.digest for shard in shards]}

    def one(film: FilmFile) -> Description:
        try:
            tags = read_tags(source.read(film.path, HEAD), lambda: source.read(film.path, None))
        except ValueError:
            return Description()  # its pixels were decoded, so the film is usable without its tags
        return describe(tags)

    def make(work: Work) -> Done:
        context.progress.phase("reading tags", steps=len(films))
        rows = []
        with ThreadPoolExecutor(THREADS) as pool:
            for film, found in zip(films, windowed(pool, one, films, AHEAD, context.stop.check), strict=True):
                rows.append({"image": film.image, **asdict(found)})
                context.progress.step(films=1)
        path = context.scratch / DESCRIPTIONS
        pd.DataFrame(rows).to_parquet(path, index=False, compression="zstd")
        return work.finish({DESCRIPTIONS: path}, {}, context.cost())

    return context.once("descriptions", inputs, make)
