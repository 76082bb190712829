"""report.html: the run's report as one self-contained page."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import yaml

from jobs.contract.durations import duration
from jobs.contract.experiment.source import PREFIX
from jobs.contract.names import STUDY_CLASSES
from jobs.evaluate import metrics_json
from jobs.evaluate.candidates import searches
from jobs.evaluate.charts import Axis, Series, chart, envelope
from jobs.evaluate.costs import attempt_rows, cost_rows, mixed_precision
from jobs.evaluate.external_rows import external_rows
from jobs.evaluate.formatting import DASH, number
from jobs.evaluate.gallery import GalleryFilm
from jobs.evaluate.groups import group_rows
from jobs.evaluate.history import TaskHistory
from jobs.evaluate.learning_curves import learning_curves
from jobs.evaluate.metrics_json import ReportedRun
from jobs.evaluate.results import FoldResult, Results, ScoreSummary
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
    headline = results.figures[results.headline]
    trained = [task for task in tasks if task.trained]
    fold_range = _fold_range(results.folds)
    return page_template("jobs.evaluate", "report.html").render(
        results=results,
        run=run,
        created=datetime.now(UTC).strftime("%-d %B %Y, %H:%M UTC"),
        number=number,
        headline={**_row(results.headline, headline), "description": _description(results)},
        others=[_row(name, summary) for name, summary in list(results.figures.items())[1:]],
        log_score=number(results.figures["map4"].score * metrics_json.LOG_UNIT) if "map4" in results.figures else "",
        source=_source(run.experiment.data.source),
        scored_folds=_scored_folds(run),
        missing=_missing(run.missing_folds),
        patients=int(results.evaluation_set.patient.max()) + 1,
        training_time=duration(sum(task.seconds for task in trained)),
        devices=", ".join(sorted({task.device for task in trained})),
        classes=[_class_row(name, summary, results) for name, summary in results.classes.items()],
        folds=[_fold_row(fold, *fold_range) for fold in results.folds],
        fold_range=fold_range,
        fold_classes=list(results.folds[0].aps) if results.folds else [],
        fold_class_means=_class_means(results.folds),
        fold_mean=number(metrics_json.fold_mean(results.folds)),
        fold_deviation=number(metrics_json.fold_deviation(results.folds)),
        curves=[_curve(name, results) for name in results.curves],
        reliabilities=[_reliability(name, results) for name in results.reliability],
        confusion=_confusion(results),
        ensemble_search=_ensemble_search(run),
        groups=group_rows(run.groups) if run.groups else [],
        groups_note=run.groups,
        scaling=run.scaling,
        external=external_rows(run.external, results) if run.external else None,
        searches=searches(trained, run.name),
        learning=learning_curves(trained, run.experiment),
        costs=cost_rows(tasks),
        attempts=attempt_rows(run),
        has_money=bool(run.currency),
        mixed_precision=mixed_precision(trained),
        gallery={name: [_film(*film) for film in films] for name, films in gallery.items() if films},
        command=_command(run),
        revision=provenance.revision(),
        versions=provenance.versions(),
        engine=ENGINE,
        experiment_yaml=yaml.safe_dump(run.experiment.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        works=[
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
    )


def _description(results: Results) -> str:
    """What the headline is a mean of; the classes that it covers where some have no ground truth."""
    classes = FIGURES[results.headline]
    covered = [name for name in classes if name not in results.left_out]
    here = "" if len(covered) == len(classes) else f" Here of {', '.join(covered)}: the others have no ground truth."
    return DESCRIPTIONS[results.headline] + here


def _source(source: str) -> str:
    return f"{source} (synthetic)" if source.startswith(PREFIX) else source


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


def _row(name: str, summary: ScoreSummary) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": name,
        "style": name,
        "score": number(summary.score),
        "untrained": number(summary.untrained),
        "at": _percent(summary.score),
        "untrained_at": _percent(summary.untrained),
        "low": "",
        "width": None,
        "gain": "",
    }
    if summary.interval:
        low, high = summary.interval.low, summary.interval.high
        row |= {"low": number(low), "high": number(high), "low_at": _percent(low), "width": _percent(high - low)}
    if summary.gain:
        p = summary.gain.p
        row |= {
            "gain": f"{summary.gain.value:+.3f}",
            "beyond_noise": summary.gain.beyond_noise,
            "p": "p < 0.01" if p < 0.01 else f"p = {p:.2f}",
        }
    return row


def _class_row(name: str, summary: ScoreSummary, results: Results) -> dict[str, Any]:
    return {**_row(name, summary), "truths": results.truths[name]}


def _fold_range(folds: Sequence[FoldResult]) -> tuple[float, float]:
    """Return the smallest range of whole tenths that holds all folds' scores and intervals, for the axis."""
    ends = [end for fold in folds for end in _fold_ends(fold) if math.isfinite(end)]
    if not ends:
        return 0.0, 1.0
    return math.floor(min(ends) * 10) / 10, max(math.ceil(max(ends) * 10), math.floor(min(ends) * 10) + 1) / 10


def _fold_ends(fold: FoldResult) -> tuple[float, float]:
    reach = 1.96 * fold.error if math.isfinite(fold.error) else 0.0
    return max(fold.score - reach, 0.0), min(fold.score + reach, 1.0)


def _fold_row(fold: FoldResult, left: float, right: float) -> dict[str, Any]:
    def place(value: float) -> float | None:
        return _percent((value - left) / (right - left))

    row: dict[str, Any] = {
        "fold": fold.fold,
        "score": number(fold.score),
        "error": number(fold.error) if math.isfinite(fold.error) else "",
        "at": place(fold.score),
        "width": None,
        "z": f"{fold.comparison.z:+z.1f}" if fold.comparison else DASH,
        "outlying": bool(fold.comparison and fold.comparison.outlying),
        "aps": [number(ap) for ap in fold.aps.values()],
        "left_out": ", ".join(fold.left_out),
        "patients": fold.patients,
        "studies": fold.studies,
        "films": fold.films,
    }
    if math.isfinite(fold.score) and math.isfinite(fold.error):
        low, high = _fold_ends(fold)
        row |= {"low_at": place(low), "width": _percent((high - low) / (right - left))}
    return row


def _class_means(folds: Sequence[FoldResult]) -> list[str]:
    if not folds:
        return []
    columns = [[fold.aps[name] for fold in folds if math.isfinite(fold.aps[name])] for name in folds[0].aps]
    return [number(sum(values) / len(values)) if values else DASH for values in columns]


def _percent(value: float) -> float | None:
    return round(100 * value, 2) if math.isfinite(value) else None


def _missing(folds: Sequence[int]) -> str:
    return f"Fold{'s' if len(folds) > 1 else ''} {', '.join(map(str, folds))} {'are' if len(folds) > 1 else 'is'}"


def _curve(name: str, results: Results) -> dict[str, Any]:
    recall, precision = results.curves[name]
    lines = [Series(envelope(recall.tolist(), precision.tolist()), name, filled=True)]
    if name != "opacity" or "opacity" not in results.figures:
        units = results.evaluation_set.studies if name in STUDY_CLASSES else results.evaluation_set.films
        share = results.truths[name] / len(units)
        lines.append(Series([(0, share), (1, share)], "chance"))
    drawn = chart(lines, Axis("recall"), Axis("precision"), f"precision against recall of {name}", height=200)
    return {"name": name, "style": name, "score": number(results.classes[name].score), "chart": drawn}


def _reliability(name: str, results: Results) -> dict[str, Any]:
    curve = results.reliability[name]
    radii = 2 + 4 * np.sqrt(curve.count / curve.count.max())
    points = list(zip(curve.confidence.tolist(), curve.accuracy.tolist(), strict=True))
    lines = [Series([(0, 0), (1, 1)], "chance"), Series(points, name, dots=radii.tolist())]
    drawn = chart(lines, Axis("confidence"), Axis("accuracy"), f"reliability of {name}", height=200)
    return {"name": name, "style": name, "error": f"{curve.error:.3f}", "chart": drawn}


def _confusion(results: Results) -> dict[str, Any] | None:
    if results.confusion is None:
        return None
    rows = [
        {
            "name": STUDY_CLASSES[true],
            "total": int(counts.sum()),
            "cells": [
                {"count": count, "share": round(count / max(int(counts.sum()), 1), 3), "diagonal": predicted == true}
                for predicted, count in enumerate(counts.tolist())
            ],
        }
        for true, counts in enumerate(results.confusion)
    ]
    return {"classes": STUDY_CLASSES, "rows": rows}


def _film(film: GalleryFilm, pixels: str) -> dict[str, Any]:
    top = next(iter(film.probabilities.items()), None)
    return {
        "image": film.image,
        "pixels": pixels,
        "width": film.width,
        "height": film.height,
        "study_class": film.study_class,
        "agreement": f"{film.agreement:.2f}",
        "none": f"{film.none:.2f}",
        "probabilities": [(name, round(100 * share, 1)) for name, share in film.probabilities.items()],
        "top": f"{top[0]} {top[1]:.2f}" if top else "",
        "truth": [_corners(box) for box in film.truth],
        "boxes": [
            {
                **_corners(predicted.box),
                "style": "correct" if predicted.correct else "false",
                "confidence": f"{predicted.confidence:.2f}",
                "opacity": round(0.4 + 0.6 * predicted.confidence, 2),
                # The confidence of a correct box is at its top, of a false one at its bottom: they often overlap.
                "left": round(100 * predicted.box[0] / film.width, 1),
                "top": round(100 * predicted.box[1 if predicted.correct else 3] / film.height, 1),
            }
            for predicted in sorted(film.boxes, key=lambda predicted: (predicted.correct, predicted.confidence))
        ],
    }


def _corners(box: Sequence[float]) -> dict[str, float]:
    return {
        "x": round(box[0], 1),
        "y": round(box[1], 1),
        "w": round(box[2] - box[0], 1),
        "h": round(box[3] - box[1], 1),
    }


def _command(run: ReportedRun) -> str:
    revision = provenance.revision().removesuffix("-dirty")
    if run.external:
        source = run.experiment.data.source
        dropped = " --overlap drop" if run.external.overlap.left_out else ""
        predict = f"--predict {source} --from {run.external.run}{dropped} --run {run.name}"
        return f"git checkout {revision[:12]}\npython workflows/cv.py run {predict}"
    return f"git checkout {revision[:12]}\npython workflows/cv.py run -e {run.name}.yaml --run {run.name}"
