"""Finds the patients and films of a labelled test set that the nets of an earlier run were trained on."""

from typing import Final

import pandas as pd

from jobs.contract.exits import BadInput
from jobs.contract.names import Stage
from jobs.contract.records import Done
from jobs.contract.task import TaskId
from jobs.films.overlap import OVERLAP, SharedFilms
from jobs.films.prepared import read_facts
from jobs.films.splitting.duplicates import near_duplicates_between
from jobs.prepare.shards import Shard
from jobs.runtime.context import Context
from jobs.runtime.store import Missing
from jobs.runtime.work import Work, fetch

# Raise by hand when the same films lead to another overlap.
VERSION: Final = 1
INDEX: Final = "index.parquet"


def find_overlap(context: Context, earlier: str, index: Done, shards: list[Shard]) -> Done:
    """Return the record of the overlap of this run's films with those of an earlier run, all its folds included.

    Args:
        context: the prepare of the run that predicts.
        earlier: the run whose nets predict.
        index: the test set's index.
        shards: the test set's shards.

    Raises:
        BadInput: the earlier run has not prepared its films, or they were deleted from the store.
    """
    try:
        trained = context.open_work(Stage.PREPARE, context.reference(earlier, TaskId(Stage.PREPARE)).works["index"])[1]
    except Missing as error:
        raise BadInput(
            f"Run {earlier} has not prepared its films: resume it first, or name another with --from."
        ) from error
    inputs = {
        "version": VERSION,
        "index": index.digest,
        "training": trained.digest,
        "duplicates": context.experiment.data.duplicates,
    }

    def make(work: Work) -> Done:
        context.progress.phase("comparing with the training films")
        films, seen = (
            pd.read_parquet(fetch(context.store, one.outputs[INDEX], context.cache)) for one in (index, trained)
        )
        _, thumbnails = read_facts(context, (shard.done[shard.facts] for shard in shards))
        records = [context.open_work(Stage.PREPARE, digest)[1] for digest in trained.inputs["films"]]
        _, others = read_facts(context, records)
        pairs = near_duplicates_between(thumbnails, others, context.experiment.data.duplicates)
        duplicates = [
            (films["image"][pair.one], seen["image"][pair.other], round(pair.correlation, 4)) for pair in pairs
        ]
        met = films["patient"].isin(seen["patient"]) | films["image"].isin([image for image, _, _ in duplicates])
        concerned = films[films["group"].isin(films["group"][met])]
        patients = sorted(set(films["patient"]) & set(seen["patient"]))
        path = context.scratch / OVERLAP
        SharedFilms(earlier, patients, duplicates, list(concerned["image"])).write(path)
        return work.finish({OVERLAP: path}, {"overlapping": float(len(concerned))}, context.cost())

    return context.once("overlap", inputs, make)
