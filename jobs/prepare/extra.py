"""Films beside the folds (``data.extra``): an index without folds and packs per entry, compared with the run's own."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Final

from jobs.contract.exits import BadInput
from jobs.contract.experiment import ExtraFilms
from jobs.contract.names import extra_name
from jobs.contract.stored.records import Done
from jobs.films.film_files import TEST, FilmFile
from jobs.films.labels import check_ids
from jobs.films.lineage.crossing import Crossings
from jobs.nets.teachers import Teacher
from jobs.prepare.index_files import INDEX, index_inputs, write_index
from jobs.prepare.packing import packed
from jobs.prepare.shards import Shard, make_shards
from jobs.prepare.sources import Source, open_source
from jobs.prepare.tables import Tables, tables_beside
from jobs.runtime.context import Context
from jobs.runtime.work import Work

# Raise by hand when the same films and labels lead to another index.
VERSION: Final = 1


def prepare_extra(context: Context, crossings: Crossings) -> dict[str, str]:
    """Prepare the films of every entry; returns name → digest of the works, for prepare's reference.

    Raises:
        BadInput: films or label files are not valid, a film has no patient, or a teacher cannot label them.
    """
    works: dict[str, str] = {}
    for number, extra in enumerate(context.experiment.data.extra):
        name = extra_name(number)
        teacher = Teacher.of(context, extra.labels) if extra.labels else None
        sizes = {*context.experiment.sizes, *(teacher.sizes if teacher else ())}
        try:
            source = open_source(extra.source, context.cache, context.scratch / name, test=False)
            index, made = _prepare(context, name, extra, source, tuple(sorted(sizes)))
        except BadInput as error:
            raise BadInput(f"data.extra.{number}: {error}") from error
        works |= made
        for sentence in _counted(context, crossings, index.digest, f"{name} ({source.name})"):
            context.progress.say(sentence)
        for other in (works[f"{extra_name(earlier)}-index"] for earlier in range(number)):
            both = len(Crossings(context, other).against(index.digest).matches)
            if both:
                context.progress.say(f"{name}: {both} films resemble films of an earlier entry of data.extra")
        if teacher:
            for fold in context.experiment.folds.selected:
                teacher.refuse_leak(crossings, fold)
    return works


def _prepare(
    context: Context, name: str, extra: ExtraFilms, source: Source, sizes: tuple[int, ...]
) -> tuple[Done, dict[str, str]]:
    context.progress.phase(f"listing films of {name}")
    tables = tables_beside(source, extra)
    films = _films(source, labelled=tables.labels is not None)
    if tables.labels:
        check_ids({film.image: film.study for film in films}, tables.labels)
    shards = make_shards(context, source, films, sizes)
    inputs = {**index_inputs(context, VERSION, shards, tables), "beside": True}
    index = context.once("index", inputs, partial(_make_index, context, name, films, shards, tables))
    works = packed(context, shards, index.outputs[INDEX].sha256, f"{name}-")
    return index, {f"{name}-index": index.digest, **works}


def _make_index(
    context: Context, name: str, films: list[FilmFile], shards: list[Shard], tables: Tables, work: Work
) -> Done:
    index = write_index(context, films, shards, tables, name)
    return work.finish(index.files, {"films": float(len(index.rows))}, context.cost())


def _films(source: Source, *, labelled: bool) -> list[FilmFile]:
    """The source's films to train on; without labels of their own, those of a test set where there are no others."""
    if not labelled and all(path.startswith(TEST) for path, _ in source.listing() if path.endswith(".dcm")):
        return source.films(test=True)
    return source.films(test=False)


def _counted(context: Context, crossings: Crossings, index: str, what: str) -> Iterator[str]:
    """Yield sentences on films that are, or resemble, films of the run."""
    crossing = crossings.against(index)
    folds = Counter(fold for matches in crossing.matches.values() for fold in matches)
    yield f"{what}: {len(crossing.folds)} films; {len(crossing.matches)} are, or resemble, films of this run"
    if folds:
        left_out = ", ".join(f"{folds[fold]} in fold {fold}" for fold in sorted(folds))
        example = next(sentence for matches in crossing.matches.values() for sentence in matches.values())
        yield f"{what}: not trained on, as the fold validates on such films: {left_out} ({example}, …)"
