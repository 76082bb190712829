"""evaluate: score the ensemble's submission and publish the figures and the report page."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd

from jobs.contract.exits import BadInput, Damaged
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.digest import settings
from jobs.contract.stored.records import Done, Heartbeat
from jobs.contract.task import TaskId
from jobs.evaluate import card, external, gallery, label_audit, metrics_json, report
from jobs.evaluate.costs import read_attempts
from jobs.evaluate.external import External, OutOfFold
from jobs.evaluate.groups import examine_groups, groups_json
from jobs.evaluate.history import TaskHistory, histories
from jobs.evaluate.results import Predictions, Results, score_predictions
from jobs.films.descriptions import read_descriptions
from jobs.films.prepared import fetch_dataset
from jobs.runtime.context import Context
from jobs.runtime.store import Missing
from jobs.runtime.telemetry.metrics import push_outcome
from jobs.runtime.work import Work, fetch
from jobs.scoring import submission
from jobs.scoring.figures import FIGURES, available_figures
from jobs.scoring.statistics.calibration import scaled
from jobs.scoring.temperature import Scaling, out_of_fold, scaling, study_probabilities

# Raise by hand when the same inputs lead to another result.
VERSION: Final = 7
METRICS, REPORT, CARD = "metrics.json", "report.html", "card.md"
LABELS, LABELS_PAGE = "labels.csv", "labels.html"
# Pixels per side below which a pack gives poor pictures.
GALLERY_SIZE: Final = 256


def run(context: Context) -> dict[str, float]:
    """Score the submission and publish ``metrics.json``, ``report.html`` and ``card.md`` in the run's tree.

    A test set without labels is not scored, and nothing is published.

    Raises:
        BadInput: the ensemble is missing, or was made from another dataset than the run's current one.
    """
    experiment = context.experiment
    fused = context.open_work(Stage.ENSEMBLE, context.upstream(TaskId(Stage.ENSEMBLE)).works["submission"])[1]
    dataset = fetch_dataset(context, [])
    if fused.inputs["dataset"] != dataset.hash:
        raise BadInput(
            f"The ensemble was made from dataset {fused.inputs['dataset'][:12]}, and prepare has since written "
            f"{dataset.hash[:12]}: resume the run {context.run}."
        )
    test = context.settings.from_run is not None
    if test and dataset.index["study_class"].isna().all():
        context.progress.say("These films have no labels: they are predicted, not scored.")
        context.refer({}, {})
        return {}
    earlier = external.find_out_of_fold(context) if test else None
    before = histories(context, fused.inputs["folds"])
    inputs = {
        "version": VERSION,
        "run": context.run,
        "experiment": settings(experiment),
        "submission": fused.digest,
        "tasks": [[task.id.path, sorted(work.digest for work in task.works.values())] for task in before],
        **({"out_of_fold": earlier.digests} if earlier else {}),
    }

    def make(work: Work) -> Done:
        return work.finish(*_evaluate(context, fused, before, earlier), context.cost())

    done = context.once("report", inputs, make)
    for name, output in done.outputs.items():
        context.store.put(layout.report(context.run, name), fetch(context.store, output, context.cache).read_bytes())
    context.refer({"report": done.digest}, done.scores)
    if gateway := context.settings.pushgateway:
        _push(context, gateway, dataset.hash, json.loads(context.store.get(layout.report(context.run, METRICS))))
    return done.scores


def _push(context: Context, gateway: str, dataset: str, stored: dict[str, Any]) -> None:
    """Push the outcome, also of work done before, so that a run that failed and was resumed does not stay failed."""
    began = datetime.now(UTC)
    with suppress(Missing, Damaged):
        began = context.store.get_record(layout.heartbeat(context.run, TaskId(Stage.PREPARE)), Heartbeat).started
    push_outcome(
        gateway, context.experiment.name, dataset[:12], context.run, stored["provenance"]["revision"],
        failed=stored["degraded"],  # without a fold there is a score, but the run has failed
        seconds=(datetime.now(UTC) - began).total_seconds(), gauges=metrics_json.gauges(stored),
    )  # fmt: skip


def _evaluate(
    context: Context, fused: Done, before: list[TaskHistory], earlier: OutOfFold | None
) -> tuple[dict[str, Path], dict[str, float]]:
    experiment = context.experiment
    folds: list[int] = fused.inputs["folds"]
    dataset = fetch_dataset(context, [])
    context.progress.phase("scoring")
    untrained, outside = None, None
    if earlier:
        overlap = external.read_overlap(context)
        index = external.scored_rows(dataset.index, overlap)
        trained = external.predictions_of(context, fused, index)
        outside = external.compare(context, index, trained, earlier, dataset.index, overlap)
    else:
        index = dataset.index[dataset.index["fold"].isin(folds)]
        trained, untrained = (_predictions(context, fused, state) for state in ("", "untrained-"))
    figures, settings = available_figures(experiment), experiment.evaluation
    results = score_predictions(index, trained, untrained, figures, settings.bootstrap, experiment.seed)
    context.stop.check()
    context.progress.phase("examining groups")
    found = _groups(context, index, results)
    context.stop.check()
    attempts, currency = read_attempts(context.store, context.run)
    audit = None
    if not earlier:  # labels of a test set are not doubted by nets of another hospital
        studies, boxes = results.confusion is not None, "opacity" in results.classes
        audit = label_audit.audit_labels(
            index, results.evaluation_set, trained.submission, studies=studies, boxes=boxes
        )
    run = metrics_json.ReportedRun(
        context.run,
        experiment,
        dataset.hash,
        tuple(folds),
        degraded=fused.inputs["degraded"],
        search=_ensemble_search(context, before),
        external=outside,
        groups=found,
        scaling=_temperature_scaling(trained, results, outside),
        attempts=attempts,
        currency=currency,
        doubted=audit.as_json() if audit else None,
    )
    context.progress.phase("drawing")
    pictures = _gallery(context, index, trained.submission, results)
    paths = {name: context.scratch / name for name in (METRICS, REPORT, CARD)}
    metrics = metrics_json.metrics(results, before, run)
    paths[METRICS].write_text(json.dumps(metrics, indent=1, allow_nan=False))
    paths[CARD].write_text(card.render(results, metrics, run))
    if audit:
        paths |= {name: context.scratch / name for name in (LABELS, LABELS_PAGE)}
        audit.rows.to_csv(paths[LABELS], index=False, float_format="%.4f")
        films = index.set_index("image")
        paths[LABELS_PAGE].write_text(label_audit.render(audit, context.run, films, _pictures(context)))
    paths[REPORT].write_text(report.render(results, before, run, pictures))
    return paths, metrics_json.scores(results)


def _temperature_scaling(predictions: Predictions, results: Results, outside: External | None) -> Scaling | None:
    """Return what temperature scaling does to the study classes; on a test set that of the earlier run."""
    evaluation_set = results.evaluation_set
    before = study_probabilities(predictions.submission, evaluation_set) if results.confusion is not None else None
    if before is None or (outside and outside.temperature is None):
        return None
    if outside and outside.temperature:
        temperature, after = outside.temperature, scaled(before, outside.temperature)
    else:
        temperature, after = out_of_fold(before, evaluation_set)
    return scaling(temperature, before, after, evaluation_set.truth.label[: len(before)])


def _groups(context: Context, index: pd.DataFrame, results: Results) -> dict[str, Any] | None:
    """Return the figures of each group of patients; None where prepare kept no tags, as an older version did not."""
    descriptions = read_descriptions(context)
    if descriptions is None:
        return None
    evaluation_set, matched = results.evaluation_set, results.matched
    found = examine_groups(
        index, descriptions, evaluation_set, matched, FIGURES[results.headline],
        context.experiment.evaluation.bootstrap, context.experiment.seed,
    )  # fmt: skip
    films_alone = len(matched.patient) == len(evaluation_set.films)
    return groups_json(found, results.headline, 0 if films_alone else len(evaluation_set.studies))


def _ensemble_search(context: Context, before: list[TaskHistory]) -> dict[str, Any] | None:
    """Return what the ensemble's search found, without the settings of each group of patients."""
    works = [task.works.get("search") for task in before if task.id.stage is Stage.ENSEMBLE]
    if not works or works[0] is None:
        return None
    found = json.loads(fetch(context.store, works[0].outputs["search.json"], context.cache).read_text())
    return {**found, "settings": found["settings"]["all"]}


def _predictions(context: Context, fused: Done, state: str) -> Predictions:
    file = fused.outputs[f"{state}submission.csv"]
    films = fused.outputs.get(f"{state}films.parquet")
    return Predictions(
        submission.read(fetch(context.store, file, context.cache)),
        pd.read_parquet(fetch(context.store, films, context.cache)) if films else None,
    )


def _gallery(
    context: Context, index: pd.DataFrame, predicted: submission.Submission, results: Results
) -> dict[str, list[tuple[gallery.GalleryFilm, str]]]:
    """Return the gallery's films with their pixels."""
    count = context.experiment.evaluation.gallery
    if not count:
        return {}
    picture = _pictures(context)
    chosen = gallery.choose(gallery.gallery_films(index, predicted, results), count, context.experiment.seed)
    return {name: [(film, picture(film.image)) for film in films] for name, films in chosen.items()}


def _pictures(context: Context) -> Callable[[str], str]:
    """Return a function from image to data URL, of the smallest pack that is good enough; empty without a gallery."""
    if not context.experiment.evaluation.gallery:
        return lambda image: ""
    sizes = context.experiment.sizes
    size = next((pixels for pixels in sizes if pixels >= GALLERY_SIZE), sizes[-1])
    dataset = fetch_dataset(context, [size])
    pack = dataset.pack(size)
    places = zip(dataset.index["image"], dataset.index["width"], dataset.index["height"], strict=True)
    films = {image: (number, int(width), int(height)) for number, (image, width, height) in enumerate(places)}

    def picture(image: str) -> str:
        number, width, height = films[image]
        return gallery.thumbnail(pack[number], width, height)

    return picture
