"""report.html: the run's report as one self-contained page."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import yaml

from jobs.contract.durations import duration
from jobs.evaluate import metrics_json
from jobs.evaluate.costs import attempt_rows, cost_rows, mixed_precision
from jobs.evaluate.formatting import DASH, number, source_text
from jobs.evaluate.gallery import GalleryFilm
from jobs.evaluate.groups import group_rows
from jobs.evaluate.history import TaskHistory
from jobs.evaluate.metrics_json import ReportedRun
from jobs.evaluate.report.candidates import searches
from jobs.evaluate.report.external_rows import external_rows
from jobs.evaluate.report.films import film_on_page
from jobs.evaluate.report.learning_curves import learning_curves
from jobs.evaluate.report.predictions import confusion, precision_recall, reliability
from jobs.evaluate.report.scores import class_means, class_row, figure_row, fold_row, range_of
from jobs.evaluate.report.training_data import extra_rows, start_rows
from jobs.evaluate.results import Results
from jobs.runtime import provenance
from jobs.runtime.pages import page_template
from jobs.scoring.figures import FIGURES
from jobs.scoring.metric import ENGINE
from jobs.scoring.searched import cost_text, gain_text, weights_of

DESCRIPTIONS: Final = {
    "map6": "Mean average precision over all six classes: the competition's metric.",
    "map4": "Mean average precision over the four study classes.",
    "film2": "Mean average precision of none and opacity as a film's two classes.",
    "opacity": "Average precision of opacity boxes.",
}


def render(
    results: Results,
    tasks: Sequence[TaskHistory],
    run: ReportedRun,
    gallery: Mapping[str, Sequence[tuple[GalleryFilm, str]]],
) -> str:
    """Return the page.

    Args:
        results: the figures.
        tasks: the history of the run's tasks.
        run: the run that the figures are of.
        gallery: group → films, each with the data URL of its pixels.
    """
    trained = [task for task in tasks if task.trained]
    return page_template("jobs.evaluate.report", "report.html").render(
        results=results,
        run=run,
        number=number,
        gallery={name: [film_on_page(*film) for film in films] for name, films in gallery.items() if films},
        **_head(results, run),
        **_scores(results),
        **_predictions(results, run),
        **_trainings(tasks, trained, run),
        **_origin(tasks, run),
    )


def _head(results: Results, run: ReportedRun) -> dict[str, Any]:
    headline = results.figures[results.headline]
    return {
        "created": datetime.now(UTC).strftime("%-d %B %Y, %H:%M UTC"),
        "source": source_text(run.experiment.data.source),
        "scored_folds": _scored_folds(run),
        "missing": _missing(run.missing_folds),
        "patients": int(results.evaluation_set.patient.max()) + 1,
        "headline": {**figure_row(results.headline, headline), "description": _description(results)},
        "others": [figure_row(name, summary) for name, summary in list(results.figures.items())[1:]],
        "log_score": number(results.figures["map4"].score * metrics_json.LOG_UNIT) if "map4" in results.figures else "",
    }


def _scores(results: Results) -> dict[str, Any]:
    fold_range = range_of(results.folds)
    return {
        "classes": [class_row(name, summary, results) for name, summary in results.classes.items()],
        "folds": [fold_row(fold, *fold_range) for fold in results.folds],
        "fold_range": fold_range,
        "fold_classes": list(results.folds[0].aps) if results.folds else [],
        "fold_class_means": class_means(results.folds),
        "fold_mean": number(metrics_json.fold_mean(results.folds)),
        "fold_deviation": number(metrics_json.fold_deviation(results.folds)),
    }


def _predictions(results: Results, run: ReportedRun) -> dict[str, Any]:
    return {
        "curves": [precision_recall(name, results) for name in results.curves if results.truths[name]],
        "reliabilities": [reliability(name, results) for name in results.reliability if results.truths[name]],
        "scaling": run.scaling,
        "confusion": confusion(results),
        "groups": group_rows(run.groups) if run.groups else [],
        "groups_note": run.groups,
        "ensemble_search": _ensemble_search(run),
        "external": external_rows(run.external, results) if run.external else None,
    }


def _trainings(tasks: Sequence[TaskHistory], trained: Sequence[TaskHistory], run: ReportedRun) -> dict[str, Any]:
    return {
        "training_time": duration(sum(task.seconds for task in trained)),
        "devices": ", ".join(sorted({task.device for task in trained})),
        "starts": start_rows(trained, run.experiment),
        "extra": extra_rows(trained, run.experiment),
        "searches": searches(trained, run.name),
        "learning": learning_curves(trained, run.experiment),
        "costs": cost_rows(tasks),
        "attempts": attempt_rows(run),
        "has_money": bool(run.currency),
        "mixed_precision": mixed_precision(trained),
    }


def _origin(tasks: Sequence[TaskHistory], run: ReportedRun) -> dict[str, Any]:
    experiment = run.experiment.model_dump(mode="json")
    return {
        "command": _command(run),
        "revision": provenance.revision(),
        "versions": provenance.versions(),
        "engine": ENGINE,
        "experiment_yaml": yaml.safe_dump(experiment, sort_keys=False, allow_unicode=True),
        "works": [
            {
                "stage": task.id.stage,
                "model": task.id.model or "",
                "fold": "" if task.id.fold is None else task.id.fold,
                "kind": kind,
                "digest": done.digest[:16],
                "created": done.created.strftime("%Y-%m-%d %H:%M"),
                "revision": done.revision[:10],
            }
            for task in tasks
            for kind, done in task.works.items()
        ],
    }


def _description(results: Results) -> str:
    """What the headline is a mean of; the classes that it covers where some have no ground truth."""
    classes = FIGURES[results.headline]
    covered = [name for name in classes if name not in results.left_out]
    here = "" if len(covered) == len(classes) else f" Here of {', '.join(covered)}: the others have no ground truth."
    return DESCRIPTIONS[results.headline] + here


def _scored_folds(run: ReportedRun) -> str:
    """Return the folds that are scored, e.g. ``folds 0, 1 of 5``."""
    count = run.experiment.folds.count
    if run.external:
        return f"nets of {len(run.folds)} folds of run {run.external.run}"
    if len(run.folds) == count:
        return f"all {count} folds"
    return f"fold{'s' if len(run.folds) > 1 else ''} {', '.join(map(str, run.folds))} of {count}"


def _ensemble_search(run: ReportedRun) -> dict[str, Any] | None:
    """Return the ensemble's search as text; None without one."""
    if run.search is None:
        return None
    chosen, models = run.search["settings"], list(run.experiment.models)
    weights, seconds = weights_of(run.search, models), run.search.get("seconds_a_film") or {}
    return {
        "figure": run.search["figure"],
        "scores": [(name, number(run.search[name])) for name in ("plain", "naive", "nested")],
        "gain": gain_text(run.search),
        "weights": [
            (name, f"{weight:.2f}", f"{seconds[name]:.3g} s" if name in seconds else DASH)
            for name, weight in weights.items()
        ],
        "cost": cost_text(run.search, models),
        "unused": [name for name, weight in weights.items() if weight == 0],
        "iou": f"{chosen['fusion']['iou']:g}",
        "none": ", ".join(f"{source} {weight:g}" for source, weight in chosen["none"].items()),
    }


def _missing(folds: Sequence[int]) -> str:
    return f"Fold{'s' if len(folds) > 1 else ''} {', '.join(map(str, folds))} {'are' if len(folds) > 1 else 'is'}"


def _command(run: ReportedRun) -> str:
    revision = provenance.revision().removesuffix("-dirty")
    if run.external:
        source = run.experiment.data.source
        dropped = " --overlap drop" if run.external.overlap.left_out else ""
        predict = f"--predict {source} --from {run.external.run}{dropped} --run {run.name}"
        return f"git checkout {revision[:12]}\npython workflows/cv.py run {predict}"
    return f"git checkout {revision[:12]}\npython workflows/cv.py run -e {run.name}.yaml --run {run.name}"
