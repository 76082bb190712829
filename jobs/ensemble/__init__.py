"""ensemble: combine the predictions of all models and folds into one submission.

Out of fold, a model's folds are pooled: each film was predicted by the only net that did not train on it. On a test set
every fold's net predicts every film and is a voter of its own. A second submission, of the untrained nets, is made by
the same rules for comparison.
"""

import json
from pathlib import Path
from typing import Final

import pandas as pd

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Ensemble
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.digest import settings
from jobs.contract.stored.records import Done
from jobs.contract.task import TaskId
from jobs.ensemble.members import Members, gather
from jobs.ensemble.search import GROUPS, Searched, apply, compare, nested, patient_groups, search
from jobs.films.prepared import fetch_dataset
from jobs.runtime.context import Context
from jobs.runtime.fitted import TEMPERATURE, fitted_temperature
from jobs.runtime.work import Work, fetch
from jobs.scoring.combine import Combined, Voter, combine, voters_of
from jobs.scoring.competition import hours, hours_text
from jobs.scoring.evaluation_set import EvaluationSet
from jobs.scoring.figures import available_figures
from jobs.scoring.searched import search_text
from jobs.scoring.submission import check, parse, render
from jobs.scoring.temperature import out_of_fold_scaled

# Raise by hand when the same inputs lead to another result.
VERSION: Final = 1
SEARCH_VERSION: Final = 1
SUBMISSION, SEARCH = "submission.csv", "search.json"


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
    index = dataset.index if test else dataset.index[dataset.index["fold"].isin(members.folds)]
    searched = _find_search(context) if test else _search(context, members, dataset.hash, index)
    fitted = _fitted(context)
    inputs = {
        "version": VERSION,
        "dataset": dataset.hash,
        "ensemble": settings(context.experiment.ensemble, without={"min_folds"}),
        "predictions": members.digests,
        "folds": list(members.folds),
        "degraded": bool(members.missing),
        **({"search": searched.digest} if searched else {}),
        **({"temperature": fitted} if fitted else {}),
    }

    def make(work: Work) -> Done:
        states = [""] if test else ["", "untrained-"]
        outputs: dict[str, Path] = {}
        context.progress.phase("fusing", steps=len(states))
        for state in states:
            combined = _combine(context, index, _voters(context, members, state, test), searched, fitted)
            if not test and context.experiment.ensemble.temperature == "fit":
                temperature, combined = out_of_fold_scaled(combined, EvaluationSet.from_index(index))
                outputs |= _write_temperature(context, temperature, state)
            outputs |= _write(context.scratch, index, combined, state)
            context.stop.check()
            context.progress.step(films=len(index))
        return work.finish(outputs, {}, context.cost())

    done = context.once("submission", inputs, make)
    text = fetch(context.store, done.outputs[SUBMISSION], context.cache).read_bytes()
    context.store.put(layout.report(context.run, SUBMISSION), text)
    scores = {"folds": float(len(members.folds))} if members.missing else {}
    scores |= _competition_hours(context, members) if test else {}
    context.refer({"submission": done.digest, **({"search": searched.digest} if searched else {})}, scores)
    return scores


def _competition_hours(context: Context, members: Members) -> dict[str, float]:
    """Return how long the competition's films would take with all these nets, by the time that each measured."""
    seconds = [done.scores["seconds_a_film"] for done in members.done.values()]
    context.progress.say(hours_text(len(seconds), sum(seconds)))
    return {"competition_hours": hours(sum(seconds))}


def _search(context: Context, members: Members, dataset: str, index: pd.DataFrame) -> Done | None:
    """Search the settings on the out-of-fold predictions; None where the experiment asks for no search."""
    experiment = context.experiment
    if experiment.ensemble.search == "none":
        return None
    inputs = {
        "version": SEARCH_VERSION,
        "dataset": dataset,
        "ensemble": settings(experiment.ensemble, without={"min_folds"}),
        "predictions": members.digests,
        "folds": list(members.folds),
        "seed": experiment.seed,
        "bootstrap": experiment.evaluation.bootstrap,
    }

    def make(work: Work) -> Done:
        classifiers, detectors = _voters(context, members, "", test=False)
        context.progress.phase("searching", steps=GROUPS + 1)

        def tick() -> None:
            context.progress.step(films=len(index))
            context.stop.check()

        searched = search(index, classifiers, detectors, experiment.ensemble, experiment.seed, tick)
        report = compare(
            index, classifiers, detectors, searched, experiment.ensemble, available_figures(experiment)[0],
            experiment.evaluation.bootstrap, experiment.seed,
        )  # fmt: skip
        path = context.scratch / SEARCH
        found = {**report, "settings": searched.as_json(), "seconds_a_film": members.seconds_a_film}
        context.progress.say(search_text(found, list(experiment.models)))
        path.write_text(json.dumps(found, indent=1))
        scores = {name: report[name] for name in ("plain", "naive", "nested")}
        return work.finish({SEARCH: path}, scores, context.cost())

    return context.once("search", inputs, make)


def _find_search(context: Context) -> Done | None:
    """The search of the run whose weights predict a test set; None where the experiment asks for none.

    Raises:
        BadInput: that run's ensemble has not searched.
    """
    earlier = context.settings.from_run
    if context.experiment.ensemble.search == "none" or not earlier:
        return None
    try:
        digest = context.reference(earlier, TaskId(Stage.ENSEMBLE)).works["search"]
    except KeyError as error:  # Missing among them
        raise BadInput(
            f"Run {earlier} has no ensemble search to use: resume it, or set ensemble.search to none."
        ) from error
    return context.open_work(Stage.ENSEMBLE, digest)[1]


def _voters(context: Context, members: Members, state: str, test: bool) -> tuple[list[Voter], list[Voter]]:
    """The classifiers' and the detectors' voters of the trained nets, or with ``state`` of the untrained ones."""

    def tables(model: str, file: str) -> list[pd.DataFrame]:
        """A model's tables: one per fold on a test set, else all folds pooled into one."""
        outputs = [members.done[model, fold].outputs[f"{state}{file}"] for fold in members.folds]
        of_folds = [pd.read_parquet(fetch(context.store, output, context.cache)) for output in outputs]
        return of_folds if test else [pd.concat(of_folds)]

    experiment = context.experiment
    predicted = {
        name: tables(name, "boxes.parquet" if model.answers_boxes else "films.parquet")
        for name, model in experiment.models.items()
    }
    return voters_of(experiment, predicted)


def _fitted(context: Context) -> float | None:
    """The temperature that the run whose weights predict a test set has fitted; None without a test set or a fit.

    Raises:
        BadInput: that run's ensemble has fitted none.
    """
    earlier = context.settings.from_run
    if context.experiment.ensemble.temperature != "fit" or not earlier:
        return None
    found = fitted_temperature(context.store, earlier)
    if found is None:
        raise BadInput(f"Run {earlier} has fitted no temperature: resume it, or set ensemble.temperature to a number.")
    return found


def _write_temperature(context: Context, temperature: float, state: str) -> dict[str, Path]:
    path = context.scratch / f"{state}{TEMPERATURE}"
    path.write_text(json.dumps({"temperature": temperature}))
    return {path.name: path}


def _combine(
    context: Context,
    index: pd.DataFrame,
    voters: tuple[list[Voter], list[Voter]],
    searched: Done | None,
    fitted: float | None,
) -> Combined:
    """Combine with the experiment's settings, or with those of a search: out of fold, each film without its patient.

    A test set is scaled with the temperature that the earlier run has fitted; out of fold the caller scales.
    """
    test, scale = context.settings.from_run is not None, {"temperature": fitted} if fitted else {}
    if searched is None:
        return combine(index, *voters, context.experiment.ensemble.model_copy(update=scale))
    stored = json.loads(fetch(context.store, searched.outputs[SEARCH], context.cache).read_text())["settings"]
    if test:
        return apply(index, *voters, Ensemble.model_validate(stored["all"]).model_copy(update=scale))
    return nested(index, *voters, Searched.from_json(stored, patient_groups(index, context.experiment.seed)))


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
