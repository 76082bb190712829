"""evaluate: the one number, what surrounds it, and the page that shows it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd

from jobs.contract import layout
from jobs.contract.digest import settings
from jobs.contract.exits import BadInput
from jobs.contract.names import Stage
from jobs.contract.records import Done, Heartbeat
from jobs.contract.task import TaskId
from jobs.evaluate import gallery, metrics, report
from jobs.evaluate.history import TaskHistory, histories
from jobs.evaluate.results import Predictions, Results, judge
from jobs.films.prepared import fetch_dataset
from jobs.runtime.context import Context
from jobs.runtime.telemetry.metrics import push_outcome
from jobs.runtime.work import Work, fetch
from jobs.scoring import submission
from jobs.scoring.figures import given_figures

# Raised by hand when the same inputs begin to mean another result.
VERSION: Final = 3
METRICS, REPORT = "metrics.json", "report.html"
# Packs of fewer pixels a side make poor pictures.
GALLERY_SIZE: Final = 256


def run(context: Context) -> dict[str, float]:
    """Score what the ensemble wrote and publish ``metrics.json`` and ``report.html`` in the run's tree."""
    experiment = context.experiment
    fused = context.open_work(Stage.ENSEMBLE, context.upstream(TaskId(Stage.ENSEMBLE)).works["submission"])[1]
    dataset = fetch_dataset(context, [])
    if fused.inputs["dataset"] != dataset.hash:
        raise BadInput(
            f"The ensemble is of dataset {fused.inputs['dataset'][:12]}, prepare has since made {dataset.hash[:12]}: "
            f"resume the run {context.run}, so that everything is of one dataset."
        )
    before = histories(context, fused.inputs["folds"])
    inputs = {
        "version": VERSION,
        "run": context.run,
        "experiment": settings(experiment),
        "submission": fused.digest,
        "tasks": [[task.id.path, sorted(work.digest for work in task.works.values())] for task in before],
    }

    def make(work: Work) -> Done:
        return work.finish(*_evaluate(context, fused, before), context.cost())

    done = context.once("report", inputs, make)
    for name, output in done.outputs.items():
        context.store.put(layout.report(context.run, name), fetch(context.store, output, context.cache).read_bytes())
    context.refer({"report": done.digest}, done.scores)
    if gateway := context.settings.pushgateway:
        _push(context, gateway, dataset.hash, json.loads(context.store.get(layout.report(context.run, METRICS))))
    return done.scores


def _push(context: Context, gateway: str, dataset: str, stored: dict[str, Any]) -> None:
    """Tell Prometheus; every time, so that a run that failed and was resumed does not stay failed."""
    first = Heartbeat.model_validate(context.store.get_json(layout.heartbeat(context.run, TaskId(Stage.PREPARE))))
    push_outcome(
        gateway, context.experiment.name, dataset[:12], context.run, stored["provenance"]["revision"],
        failed=stored["degraded"],  # an ensemble without a lost fold has a number, and the run has failed all the same
        seconds=(datetime.now(UTC) - first.started).total_seconds(), gauges=metrics.gauges(stored),
    )  # fmt: skip


def _evaluate(context: Context, fused: Done, before: list[TaskHistory]) -> tuple[dict[str, Path], dict[str, float]]:
    experiment = context.experiment
    folds: list[int] = fused.inputs["folds"]
    dataset = fetch_dataset(context, [])
    index = dataset.index[dataset.index["fold"].isin(folds)]
    trained, untrained = (_predictions(context, fused, state) for state in ("", "untrained-"))
    context.progress.phase("scoring")
    figures, settings = given_figures(experiment), experiment.evaluation
    results = judge(index, trained, untrained, figures, settings.bootstrap, experiment.seed)
    context.stop.check()
    origin = metrics.Origin(context.run, experiment, dataset.hash, tuple(folds), fused.inputs["degraded"])
    context.progress.phase("drawing")
    pictures = _gallery(context, index, trained.submission, results)
    paths = {name: context.scratch / name for name in (METRICS, REPORT)}
    paths[METRICS].write_text(json.dumps(metrics.metrics(results, before, origin), indent=1, allow_nan=False))
    paths[REPORT].write_text(report.render(results, before, origin, pictures))
    return paths, metrics.scores(results)


def _predictions(context: Context, fused: Done, state: str) -> Predictions:
    file = fused.outputs[f"{state}submission.csv"]
    films = fused.outputs.get(f"{state}films.parquet")
    return Predictions(
        submission.read(fetch(context.store, file, context.cache)),
        pd.read_parquet(fetch(context.store, films, context.cache)) if films else None,
    )


def _gallery(
    context: Context, index: pd.DataFrame, said: submission.Submission, results: Results
) -> dict[str, list[tuple[gallery.Film, str]]]:
    """The chosen films with their pixels, from the smallest pack that makes a good picture."""
    sizes = context.experiment.sizes
    size = next((one for one in sizes if one >= GALLERY_SIZE), sizes[-1])
    count = context.experiment.evaluation.gallery
    if not count:
        return {}
    dataset = fetch_dataset(context, [size])
    pack = dataset.pack(size)
    row = {image: number for number, image in enumerate(dataset.index["image"])}
    chosen = gallery.choose(gallery.films_of(index, said, results), count, context.experiment.seed)
    return {
        name: [(film, gallery.thumbnail(pack[row[film.image]], film)) for film in films]
        for name, films in chosen.items()
    }
