"""ensemble: the folds' out-of-fold predictions become one submission, and those of the untrained nets another."""

from pathlib import Path
from typing import Final

import pandas as pd

from jobs.contract.names import STUDY_CLASSES, Stage
from jobs.ensemble.combine import Combined, Voter, combine
from jobs.ensemble.members import Members, gather
from jobs.films.prepared import fetch_dataset
from jobs.runtime.context import Context
from jobs.runtime.work import fetch
from jobs.scoring.submission import check, parse, render

# Raised by hand when the same inputs begin to mean another result.
VERSION: Final = 1
# The same rules for trained nets and for the same nets before their first step: prefix of their files.
STATES: Final = ("", "untrained-")


def run(context: Context) -> dict[str, float]:
    """Pool, fuse, write, check; all from what the store holds."""
    dataset = fetch_dataset(context, [])
    members = gather(context, dataset.hash)
    settings = context.experiment.ensemble
    work = context.work(
        "submission",
        {
            "version": VERSION,
            "dataset": dataset.hash,
            "ensemble": settings.model_dump(mode="json", exclude={"min_folds"}),
            "oof": members.digests,
            "folds": list(members.folds),
            "degraded": bool(members.missing),
        },
    )
    if (done := work.done()) is None:
        index = dataset.index[dataset.index["fold"].isin(members.folds)]
        outputs: dict[str, Path] = {}
        context.progress.phase("fusing", steps=len(STATES))
        for state in STATES:
            combined = combine(index, *_voters(context, members, state), settings)
            outputs |= _write(context.scratch, index, combined, state)
            context.stop.check()
            context.progress.step(films=len(index))
        done = work.finish(outputs, {}, context.cost())
    context.refer({"submission": work.digest}, done.scores)
    return done.scores


def _voters(context: Context, members: Members, state: str) -> tuple[list[Voter], list[Voter]]:
    """Classifiers and detectors, the folds of each pooled."""
    experiment = context.experiment
    weights = experiment.ensemble.weights

    def pooled(stage: Stage, model: str, file: str) -> Voter:
        paths = [
            fetch(context.store, members.done[stage, model, fold].outputs[f"{state}{file}"], context.cache)
            for fold in members.folds
        ]
        table = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
        return Voter(model, weights.get(model, 1.0), table)

    classifiers = [pooled(Stage.TRAIN_CLASSIFIER, model, "films.parquet") for model in experiment.classifiers]
    for number, voter in enumerate(classifiers):
        if experiment.classifiers[voter.name].loss_on == "film":
            # The study outputs of such a head were never trained.
            silent = voter.table.drop(columns=list(STUDY_CLASSES))
            classifiers[number] = Voter(voter.name, voter.weight, silent)
    return classifiers, [pooled(Stage.TRAIN_DETECTOR, model, "boxes.parquet") for model in experiment.detectors]


def _write(folder: Path, index: pd.DataFrame, combined: Combined, state: str) -> dict[str, Path]:
    name = f"{state}submission.csv"
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
