"""ensemble: combine the predictions of all models and folds into one submission.

Out of fold, a model's folds are pooled: each film was predicted by the only net that did not train on it. On a test set
every fold's net predicts every film and is a voter of its own. A second submission, of the untrained nets, is made by
the same rules for comparison.
"""

from pathlib import Path
from typing import Final

import pandas as pd

from jobs.contract import layout
from jobs.contract.digest import settings
from jobs.contract.names import STUDY_CLASSES
from jobs.contract.records import Done
from jobs.ensemble.combine import Combined, Voter, combine
from jobs.ensemble.members import Members, gather
from jobs.films.prepared import fetch_dataset
from jobs.runtime.context import Context
from jobs.runtime.work import Work, fetch
from jobs.scoring.competition import hours, hours_text
from jobs.scoring.submission import check, parse, render

# Raise by hand when the same inputs lead to another result.
VERSION: Final = 1
SUBMISSION: Final = "submission.csv"


def run(context: Context) -> dict[str, float]:
    """Combine the stored predictions, write and check the submission.

    Raises:
        BadInput: folds are missing or of another dataset, or every source of ``none`` has weight 0.
    """
    test = context.settings.from_run is not None
    dataset = fetch_dataset(context, [])
    members = gather(context, dataset.hash, test)
    for task in members.missing:
        context.progress.say(f"{task} is not done: the ensemble goes on without fold {task.fold}")
    inputs = {
        "version": VERSION,
        "dataset": dataset.hash,
        "ensemble": settings(context.experiment.ensemble, without={"min_folds"}),
        "predictions": members.digests,
        "folds": list(members.folds),
        "degraded": bool(members.missing),
    }

    def make(work: Work) -> Done:
        index = dataset.index if test else dataset.index[dataset.index["fold"].isin(members.folds)]
        states = [""] if test else ["", "untrained-"]
        outputs: dict[str, Path] = {}
        context.progress.phase("fusing", steps=len(states))
        for state in states:
            outputs |= _fuse(context, members, index, state, test)
            context.stop.check()
            context.progress.step(films=len(index))
        return work.finish(outputs, {}, context.cost())

    done = context.once("submission", inputs, make)
    text = fetch(context.store, done.outputs[SUBMISSION], context.cache).read_bytes()
    context.store.put(layout.report(context.run, SUBMISSION), text)
    scores = {"folds": float(len(members.folds))} if members.missing else {}
    scores |= _competition_hours(context, members) if test else {}
    context.refer({"submission": done.digest}, scores)
    return scores


def _competition_hours(context: Context, members: Members) -> dict[str, float]:
    """Return how long the competition's films would take with all these nets, by the time that each measured."""
    seconds = [done.scores["seconds_a_film"] for done in members.done.values()]
    context.progress.say(hours_text(len(seconds), sum(seconds)))
    return {"competition_hours": hours(sum(seconds))}


def _fuse(context: Context, members: Members, index: pd.DataFrame, state: str, test: bool) -> dict[str, Path]:
    """Write the submission of the trained nets, or with ``state`` of the untrained ones; returns the files."""
    experiment = context.experiment

    def voters(model: str, file: str, ignored: tuple[str, ...] = ()) -> list[Voter]:
        """A model's voters: its folds, pooled unless on a test set. ``ignored``: columns that were never trained."""
        outputs = [members.done[model, fold].outputs[f"{state}{file}"] for fold in members.folds]
        tables = [pd.read_parquet(fetch(context.store, output, context.cache)) for output in outputs]
        tables = [
            table.drop(columns=list(ignored), errors="ignore") for table in (tables if test else [pd.concat(tables)])
        ]
        weight = experiment.ensemble.weights.get(model, 1.0) / len(tables)
        return [Voter(model, weight, table) for table in tables]

    classifiers = [
        voter
        for name, model in experiment.classifiers.items()
        for voter in voters(name, "films.parquet", () if model.answers_studies else STUDY_CLASSES)
    ]
    detectors = [voter for name in experiment.detectors for voter in voters(name, "boxes.parquet")]
    return _write(context.scratch, index, combine(index, classifiers, detectors, experiment.ensemble), state)


def _write(folder: Path, index: pd.DataFrame, combined: Combined, state: str) -> dict[str, Path]:
    name = f"{state}{SUBMISSION}"
    text = render(combined.submission)
    sizes = dict(zip(index["image"], zip(index["width"], index["height"], strict=True), strict=True))
    # Check the text rather than the arrays: it is what a reader of the file will see.
    check(parse(text, name), list(dict.fromkeys(index["study"])), index["image"], name, sizes)
    outputs = {name: folder / name}
    outputs[name].write_text(text)
    if combined.films is not None:
        films = f"{state}films.parquet"
        outputs[films] = folder / films
        combined.films.to_parquet(outputs[films], index=False)
    return outputs
