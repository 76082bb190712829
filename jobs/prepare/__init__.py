"""prepare: read films and label files and write the packed dataset that every other stage reads.

Films are decoded once, to all sizes of the experiment. The hash of the index identifies the dataset; sizes only change
pixels, not the split.
"""

from dataclasses import asdict, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment
from jobs.contract.needs.split import find_split
from jobs.contract.needs.teachers import check_stored
from jobs.contract.stored import layout
from jobs.contract.stored.digest import digest, settings
from jobs.contract.stored.records import Done
from jobs.films.film_files import FilmFile
from jobs.films.labels import STUDY_FILE, check_ids, labels_of
from jobs.films.lineage.crossing import Crossings
from jobs.films.lineage.shared_films import OVERLAP, REMEDY, SharedFilms
from jobs.films.quality import quality_sheet, sample
from jobs.nets.starts import check_starts
from jobs.prepare.descriptions import describe_films
from jobs.prepare.extra import prepare_extra
from jobs.prepare.index_files import INDEX, index_inputs, write_index
from jobs.prepare.packing import packed
from jobs.prepare.seen import find_overlap
from jobs.prepare.shards import PIXELS, Shard, make_shards
from jobs.prepare.sources import Source, open_source
from jobs.prepare.tables import Tables, tables_of
from jobs.runtime.context import Context
from jobs.runtime.work import Work, fetch

# Raise by hand when the same films and labels lead to another index.
VERSION: Final = 2
SHEET: Final = "quality.html"


def run(context: Context) -> dict[str, float]:
    """Read the source, decode missing films, and write the index and one pack per size.

    In a run that predicts with another run's weights the source is a test set, without folds. Where it has labels, it
    is refused if training has seen some of its patients or films, unless the run leaves those out of its scores.
    """
    test = context.settings.from_run is not None
    if not test:  # before anything is decoded, and before a GPU is asked for
        check_stored(context.experiment, context.store.find_json, context.store.url)
        _check_augmentation(context.experiment)
    source = open_source(context.experiment.data.source, context.cache, context.scratch, test)
    context.progress.phase("listing films")
    tables = tables_of(source, context.experiment.data, test)
    films = source.films(test)
    if test:
        tables = _test_tables(context, tables, films)
    else:
        tables = replace(tables, frozen=find_split(context.experiment, context.store.find_json, context.store.url))
    if labels := tables.labels:
        check_ids({film.image: film.study for film in films if not test or film.study in labels.classes}, labels)
    shards = make_shards(context, source, films, context.experiment.sizes)
    index = _index(context, source, films, shards, tables)
    works = {"index": index.digest, "descriptions": describe_films(context, source, shards).digest}
    if test and tables.labels:
        works["overlap"] = _check_overlap(context, source, index)
    works |= packed(context, shards, index.outputs[INDEX].sha256)
    if not test:
        crossings = Crossings(context, index.digest)
        check_starts(context, crossings)
        works |= prepare_extra(context, crossings)
        works |= {f"crossing-{digest[:12]}": digest for digest in crossings.made}
    sheet = fetch(context.store, index.outputs[SHEET], context.cache)
    context.store.upload(sheet, layout.report(context.run, SHEET))
    context.refer(works, index.scores)
    return index.scores


def _test_tables(context: Context, tables: Tables, films: list[FilmFile]) -> Tables:
    """Return the tables with the labels of the films' studies alone; they may label other studies, or none of these."""
    if tables.labels is None:
        return tables
    labels = labels_of({film.image: film.study for film in films}, tables.labels)
    if labels is None:
        context.progress.say(f"{STUDY_FILE} labels none of these studies: they are predicted, not scored")
        return replace(tables, labels=None, files=[path for path in tables.files if path == tables.patients])
    rest = len({film.study for film in films} - set(labels.classes))
    context.progress.say(f"labelled studies, which are scored: {len(labels.classes)}, without label: {rest}")
    return replace(tables, labels=labels)


def _check_overlap(context: Context, source: Source, index: Done) -> str:
    """Look for patients and films that training has seen; returns the digest of what was found.

    Raises:
        BadInput: there are some, and they are not to be left out.
    """
    earlier = context.settings.from_run
    assert earlier is not None
    done = find_overlap(context, earlier, index)
    found = SharedFilms.read(fetch(context.store, done.outputs[OVERLAP], context.cache))
    if found.left_out and not context.settings.drop_overlap:
        raise BadInput(f"{source.name}: {found.sentence()} {REMEDY}")
    if found.left_out:
        context.progress.say(f"{found.sentence()} They are predicted and left out of the scores.")
    return done.digest


def _check_augmentation(experiment: Experiment) -> None:
    """Try every list of transforms on a film.

    Raises:
        BadInput: albumentations refuses one of them.
    """
    lists = {name: model for name, model in experiment.classifiers.items() if not isinstance(model.augment, str)}
    if lists:
        from jobs.films.augment import check_augment  # imports albumentations, which takes seconds

        for name, model in lists.items():
            check_augment(model.augment, model.size, f"classifiers.{name}.augment")


def _index(context: Context, source: Source, films: list[FilmFile], shards: list[Shard], tables: Tables) -> Done:
    """Return the finished index; its inputs are the films, the tables' content and the settings it depends on."""
    folds = settings(context.experiment.folds, without={"run", "frozen"})
    inputs = {**index_inputs(context, VERSION, shards, tables), "folds": folds}
    if tables.frozen:
        inputs["frozen"] = digest(tables.frozen.model_dump(mode="json"))
    return context.once("index", inputs, partial(_make_index, context, source, films, shards, tables))


def _make_index(
    context: Context, source: Source, films: list[FilmFile], shards: list[Shard], tables: Tables, work: Work
) -> Done:
    index = write_index(context, films, shards, tables)
    shown = [row for chosen in sample(index.rows).values() for row in chosen]
    squares = _squares(context, shards, dict(zip(index.rows["image"].iloc[shown], shown, strict=True)))
    sheet = context.scratch / SHEET
    sheet.write_text(quality_sheet(source.name, index.rows, squares, asdict(index.findings)))
    counts = {"films": "image", "studies": "study", "patients": "patient"}
    scores = {name: float(index.rows[column].nunique()) for name, column in counts.items()}
    return work.finish({**index.files, SHEET: sheet}, scores, context.cost())


def _squares(context: Context, shards: list[Shard], rows: dict[str, int]) -> dict[int, NDArray[np.uint8]]:
    """Return films at the smallest size, row → square, given image → row."""
    size = min(context.experiment.sizes)
    squares: dict[int, NDArray[np.uint8]] = {}
    for shard in shards:
        if shown := [(place, rows[film.image]) for place, film in enumerate(shard.films) if film.image in rows]:
            path = fetch(context.store, shard.done[shard.packs[size]].outputs[PIXELS], context.cache)
            pixels = np.load(path, mmap_mode="r")
            squares |= {row: pixels[place] for place, row in shown}
    return squares
