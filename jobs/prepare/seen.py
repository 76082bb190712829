"""Finds the patients and films of a labelled test set that went into the weights of an earlier run."""

from typing import Final

import numpy as np
import pandas as pd

from jobs.contract.exits import BadInput
from jobs.contract.names import Stage
from jobs.contract.plan import training_stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Done
from jobs.contract.task import TaskId
from jobs.films.lineage.crossing import read_films
from jobs.films.lineage.seen import seen_by
from jobs.films.lineage.shared_films import OVERLAP, SharedFilms
from jobs.films.splitting.duplicates import near_duplicates_between
from jobs.nets.weights.trained_folds import trained_fold
from jobs.runtime.context import Context
from jobs.runtime.store import Missing
from jobs.runtime.work import Work

# Raise by hand when the same films lead to another overlap.
VERSION: Final = 1


def find_overlap(context: Context, earlier: str, index: Done) -> Done:
    """Return the record of the overlap of this run's films with those behind an earlier run's weights, in any fold.

    Args:
        context: the prepare of the run that predicts.
        earlier: the run whose nets predict.
        index: the test set's index.

    Raises:
        BadInput: the earlier run has not prepared its films, or a record behind its weights was deleted.
    """
    training = training_indexes(context, earlier)
    inputs = {
        "version": VERSION,
        "index": index.digest,
        "training": training,
        "duplicates": context.experiment.data.duplicates,
    }

    def make(work: Work) -> Done:
        context.progress.phase("comparing with the training films")
        own, others = read_films(context, index.digest), [read_films(context, digest) for digest in training]
        films, seen = own.rows, pd.concat([other.rows for other in others], ignore_index=True)
        thumbnails = np.concatenate([other.thumbnails for other in others])
        pairs = near_duplicates_between(own.thumbnails, thumbnails, context.experiment.data.duplicates)
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


def training_indexes(context: Context, earlier: str) -> list[str]:
    """Return the digests of all indexes whose films went into a run's weights, its own first.

    The others are those of films beside the folds, of starts and of teachers. All films of an index count as seen.

    Raises:
        BadInput: the run has not prepared its films, or a record on the way was deleted.
    """
    store, selected = context.store, context.experiment.folds.selected
    try:
        own = context.reference(earlier, TaskId(Stage.PREPARE)).works["index"]
    except Missing as error:
        raise BadInput(
            f"Run {earlier} has not prepared its films: resume it first, or name another with --from."
        ) from error
    found: set[str] = set()
    for model in context.experiment.models:
        stage = training_stage(context.experiment, model)
        for fold in selected:
            if store.find_json(layout.reference(earlier, TaskId(stage, model, fold))):  # else predict says so
                trained = trained_fold(store, context.experiment, earlier, model, fold)
                found |= {seen.index for seen in seen_by(store, trained, f"run:{earlier}/{model} fold {fold}")}
    return [own, *sorted(found - {own})]
