"""The files of an index and what it depends on, for the run's own films and for those beside the folds."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from jobs.contract.stored.digest import settings
from jobs.films.dataset import index_bytes
from jobs.films.film_files import FilmFile
from jobs.films.prepared import read_facts
from jobs.prepare.indexing import Findings, make_index
from jobs.prepare.shards import Shard
from jobs.prepare.tables import Tables
from jobs.runtime.context import Context
from jobs.runtime.store import sha256_of

INDEX: Final = "index.parquet"
AUDIT: Final = "audit.json"


@dataclass(frozen=True)
class IndexFiles:
    """An index and the files to store of it."""

    rows: pd.DataFrame
    findings: Findings
    files: dict[str, Path]


def index_inputs(context: Context, version: int, shards: list[Shard], tables: Tables) -> dict[str, Any]:
    """Return what every index depends on: films, content of tables, and what counts as a duplicate."""
    return {
        "version": version,
        "films": [shard.facts.digest for shard in shards],
        "tables": {path.name: sha256_of(path) for path in tables.files},
        "data": settings(context.experiment.data, only={"duplicates"}),
    }


def write_index(
    context: Context, films: list[FilmFile], shards: list[Shard], tables: Tables, beside: str = ""
) -> IndexFiles:
    """Make the index of decoded films, log what was found, and write its files into the scratch folder.

    Args:
        context: the attempt.
        films: sorted by image.
        shards: their shards, finished.
        tables: of the films' source.
        beside: name of films beside the folds; empty for the run's own.
    """
    context.progress.phase(f"indexing {beside}".strip())
    records = (shard.done[shard.facts] for shard in shards)
    facts, thumbnails = read_facts(context, records, (film.image for film in films))
    test = context.settings.from_run is not None
    rows, findings = make_index(films, facts, thumbnails, tables, context.experiment, test, beside=bool(beside))
    for sentence in findings.sentences():
        context.progress.say(f"{beside}: {sentence}" if beside else sentence)
    files = {name: context.scratch / f"{beside or 'own'}-{name}" for name in (INDEX, AUDIT)}
    files[INDEX].write_bytes(index_bytes(rows))
    files[AUDIT].write_text(json.dumps(asdict(findings), indent=1))
    return IndexFiles(rows, findings, files)
