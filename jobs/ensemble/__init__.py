"""ensemble: what the nets of all folds say becomes one submission.

Out of fold, a model's folds are pooled: each film has been judged by the one net that did not train on it. On a test
set every fold's net judges every film and is a voice of its own. Beside the submission stands that of the untrained
nets, by the same rules.
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
from jobs.scoring.competition import hours, set_against
from jobs.scoring.submission import check, parse, render

# Raised by hand when the same inputs begin to mean another result.
VERSION: Final = 1
SUBMISSION: Final = "submission.csv"


def run(context: Context) -> dict[str, float]:
    """Pool, fuse, write, check; all from what the store holds.

    Raises:
        BadInput: folds are missing or of another dataset, or nothing says which films show no opacity.
    """
    test = context.settings.from_run is not None
    dataset = fetch_dataset(context, [])
    members = gather(context, dataset.hash, test)
    for task in members.missing:
        context.progress.say(f"{task} is not done: fold {task.fold} is left out until it is")
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
    """How long the competition's films would take with all these nets, by what each said of itself."""
    seconds = [done.scores["seconds_a_film"] for done in members.done.values()]
    context.progress.say(set_against(len(seconds), sum(seconds)))
    return {"competition_hours": hours(sum(seconds))}


def _fuse(context: Context, members: Members, index: pd.DataFrame, state: str, test: bool) -> dict[str, Path]:
    """The submission of the trained nets, or with ``state`` of those before their first step."""
    experiment = context.experiment

    def voters(model: str, file: str, silent: tuple[str, ...] = ()) -> list[Voter]:
        """A model's voices: its folds, pooled out of fold. ``silent``: columns that were never trained."""
        outputs = [members.done[model, fold].outputs[f"{state}{file}"] for fold in members.folds]
        tables = [pd.read_parquet(fetch(context.store, one, context.cache)) for one in outputs]
        tables = [
            table.drop(columns=list(silent), errors="ignore") for table in (tables if test else [pd.concat(tables)])
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
    # What is checked is what a reader of the file will see.
    check(parse(text, name), list(dict.fromkeys(index["study"])), index["image"], name, sizes)
    outputs = {name: folder / name}
    outputs[name].write_text(text)
    if combined.films is not None:
        films = f"{state}films.parquet"
        outputs[films] = folder / films
        combined.films.to_parquet(outputs[films], index=False)
    return outputs
