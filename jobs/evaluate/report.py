"""report.html: one page that needs nothing but itself."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import yaml

from jobs.contract.names import STUDY_CLASSES
from jobs.evaluate import metrics
from jobs.evaluate.charts import Axis, Line, chart, envelope
from jobs.evaluate.gallery import Film
from jobs.evaluate.history import TaskHistory
from jobs.evaluate.learning import learning
from jobs.evaluate.metrics import Origin
from jobs.evaluate.results import FoldResult, Results, Stated
from jobs.evaluate.search import searches
from jobs.evaluate.words import DASH, duration, memory, number
from jobs.runtime import provenance
from jobs.runtime.pages import page_template
from jobs.scoring.metric import ENGINE

WHAT: Final = {
    "map6": "Mean average precision over all six classes: the competition's metric.",
    "map4": "Mean average precision over the four study classes.",
    "film2": "Mean average precision of none and opacity as a film's two classes.",
    "opacity": "Average precision of opacity boxes.",
}


def render(
    results: Results, tasks: Sequence[TaskHistory], origin: Origin, gallery: Mapping[str, Sequence[tuple[Film, str]]]
) -> str:
    """The page.

    Args:
        results: the figures.
        tasks: what the run's tasks did and took.
        origin: what it was all made from.
        gallery: group → films with the data address of their pixels.
    """
    headline = results.figures[results.headline]
    trained = [task for task in tasks if task.trained]
    fold_range = _fold_range(results.folds)
    return page_template("jobs.evaluate", "report.html").render(
        results=results,
        origin=origin,
        created=datetime.now(UTC).strftime("%-d %B %Y, %H:%M UTC"),
        number=number,
        headline={**_row(results.headline, headline), "what": WHAT[results.headline]},
        others=[_row(name, one) for name, one in list(results.figures.items())[1:]],
        log_score=number(results.figures["map4"].score * metrics.LOG_UNIT) if "map4" in results.figures else "",
        missing=_missing(origin),
        patients=int(results.sheet.patient.max()) + 1,
        training_time=duration(sum(task.seconds for task in trained)),
        devices=", ".join(sorted({task.device for task in trained})),
        classes=[_class_row(name, one, results) for name, one in results.classes.items()],
        folds=[_fold_row(one, *fold_range) for one in results.folds],
        fold_range=fold_range,
        fold_classes=list(results.folds[0].aps),
        fold_class_means=_class_means(results.folds),
        fold_mean=number(metrics.fold_mean(results.folds)),
        fold_deviation=number(metrics.fold_deviation(results.folds)),
        curves=[_curve(name, results) for name in results.curves],
        reliabilities=[_reliability(name, results) for name in results.reliability],
        confusion=_confusion(results),
        searches=searches(trained, origin.run),
        learning=learning(trained, origin.experiment),
        costs=_costs(tasks),
        gallery={name: [_film(*one) for one in films] for name, films in gallery.items() if films},
        command=_command(origin),
        revision=provenance.revision(),
        versions=provenance.versions(),
        engine=ENGINE,
        experiment_yaml=yaml.safe_dump(origin.experiment.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
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


def _row(name: str, one: Stated) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": name,
        "style": name,
        "score": number(one.score),
        "untrained": number(one.untrained),
        "at": _percent(one.score),
        "untrained_at": _percent(one.untrained),
        "low": "",
        "width": None,
        "gain": "",
    }
    if one.interval:
        low, high = one.interval.low, one.interval.high
        row |= {"low": number(low), "high": number(high), "low_at": _percent(low), "width": _percent(high - low)}
    if one.gain:
        p = one.gain.p
        row |= {
            "gain": f"{one.gain.value:+.3f}",
            "beyond_noise": one.gain.beyond_noise,
            "p": "p < 0.01" if p < 0.01 else f"p = {p:.2f}",
        }
    return row


def _class_row(name: str, one: Stated, results: Results) -> dict[str, Any]:
    return {**_row(name, one), "truths": results.truths[name]}


def _fold_range(folds: Sequence[FoldResult]) -> tuple[float, float]:
    """Tenths that hold all folds' scores with their errors: an axis on which folds can be told apart."""
    ends = [end for one in folds for end in _fold_ends(one) if math.isfinite(end)]
    if not ends:
        return 0.0, 1.0
    return math.floor(min(ends) * 10) / 10, max(math.ceil(max(ends) * 10), math.floor(min(ends) * 10) + 1) / 10


def _fold_ends(one: FoldResult) -> tuple[float, float]:
    reach = 1.96 * one.error if math.isfinite(one.error) else 0.0
    return max(one.score - reach, 0.0), min(one.score + reach, 1.0)


def _fold_row(one: FoldResult, left: float, right: float) -> dict[str, Any]:
    def place(value: float) -> float | None:
        return _percent((value - left) / (right - left))

    row: dict[str, Any] = {
        "fold": one.fold,
        "score": number(one.score),
        "error": number(one.error) if math.isfinite(one.error) else "",
        "at": place(one.score),
        "width": None,
        "z": f"{one.verdict.z:+z.1f}" if one.verdict else DASH,
        "outlying": bool(one.verdict and one.verdict.outlying),
        "aps": [number(ap) for ap in one.aps.values()],
        "patients": one.patients,
        "studies": one.studies,
        "films": one.films,
    }
    if math.isfinite(one.score) and math.isfinite(one.error):
        low, high = _fold_ends(one)
        row |= {"low_at": place(low), "width": _percent((high - low) / (right - left))}
    return row


def _class_means(folds: Sequence[FoldResult]) -> list[str]:
    columns = [[one.aps[name] for one in folds if math.isfinite(one.aps[name])] for name in folds[0].aps]
    return [number(sum(values) / len(values)) if values else DASH for values in columns]


def _percent(value: float) -> float | None:
    return round(100 * value, 2) if math.isfinite(value) else None


def _missing(origin: Origin) -> str:
    lost = sorted(set(origin.experiment.folds.selected) - set(origin.folds))
    return f"Fold{'s' if len(lost) > 1 else ''} {', '.join(map(str, lost))}"


def _curve(name: str, results: Results) -> dict[str, Any]:
    recall, precision = results.curves[name]
    lines = [Line(envelope(recall.tolist(), precision.tolist()), name, filled=True)]
    if name != "opacity" or "opacity" not in results.figures:
        units = results.sheet.studies if name in STUDY_CLASSES else results.sheet.films
        share = results.truths[name] / len(units)
        lines.append(Line([(0, share), (1, share)], "chance"))
    drawn = chart(lines, Axis("recall"), Axis("precision"), f"precision against recall of {name}", height=200)
    return {"name": name, "style": name, "score": number(results.classes[name].score), "chart": drawn}


def _reliability(name: str, results: Results) -> dict[str, Any]:
    curve = results.reliability[name]
    radii = 2 + 4 * np.sqrt(curve.count / curve.count.max())
    points = list(zip(curve.confidence.tolist(), curve.right.tolist(), strict=True))
    lines = [Line([(0, 0), (1, 1)], "chance"), Line(points, name, dots=radii.tolist())]
    drawn = chart(lines, Axis("confidence"), Axis("share right"), f"reliability of {name}", height=200)
    return {"name": name, "style": name, "error": f"{curve.error:.3f}", "chart": drawn}


def _confusion(results: Results) -> dict[str, Any] | None:
    if results.confusion is None:
        return None
    rows = [
        {
            "name": STUDY_CLASSES[true],
            "total": int(counts.sum()),
            "cells": [
                {"count": count, "share": round(count / max(int(counts.sum()), 1), 3), "diagonal": said == true}
                for said, count in enumerate(counts.tolist())
            ],
        }
        for true, counts in enumerate(results.confusion)
    ]
    return {"classes": STUDY_CLASSES, "rows": rows}


def _costs(tasks: Sequence[TaskHistory]) -> list[dict[str, Any]]:
    """A row a stage and model."""
    rows: list[dict[str, Any]] = []
    most = 0.0
    for stage, model in dict.fromkeys((task.id.stage, task.id.model) for task in tasks):
        own = [task for task in tasks if (task.id.stage, task.id.model) == (stage, model)]
        total = sum(task.seconds for task in own)
        most = max(most, total)
        rows.append(
            {
                "stage": stage,
                "model": model or "",
                "tasks": len(own),
                "total": total,
                "time": duration(total),
                "longest": duration(max(task.seconds for task in own)),
                "memory": memory(max(task.peak_memory for task in own)),
                "gpu_memory": memory(max(task.peak_gpu_memory for task in own)),
                "device": ", ".join(sorted({task.device for task in own})),
            }
        )
    return [{**row, "share": round(100 * row["total"] / most, 1) if most else 0} for row in rows]


def _film(film: Film, pixels: str) -> dict[str, Any]:
    likeliest = next(iter(film.said.items()), None)
    return {
        "image": film.image,
        "pixels": pixels,
        "width": film.width,
        "height": film.height,
        "study_class": film.study_class,
        "agreement": f"{film.agreement:.2f}",
        "none": f"{film.none:.2f}",
        "said": [(name, round(100 * share, 1)) for name, share in film.said.items()],
        "likeliest": f"{likeliest[0]} {likeliest[1]:.2f}" if likeliest else "",
        "truth": [_place(box) for box in film.truth],
        "boxes": [
            {
                **_place(one.box),
                "right": one.right,
                "confidence": f"{one.confidence:.2f}",
                "strength": round(0.4 + 0.6 * one.confidence, 2),
                # A right box bears its confidence at its top, a wrong one at its bottom: they often overlap.
                "left": round(100 * one.box[0] / film.width, 1),
                "top": round(100 * one.box[1 if one.right else 3] / film.height, 1),
            }
            for one in sorted(film.boxes, key=lambda one: (one.right, one.confidence))
        ],
    }


def _place(box: Sequence[float]) -> dict[str, float]:
    return {
        "x": round(box[0], 1),
        "y": round(box[1], 1),
        "w": round(box[2] - box[0], 1),
        "h": round(box[3] - box[1], 1),
    }


def _command(origin: Origin) -> str:
    revision = provenance.revision().removesuffix("-dirty")
    return f"git checkout {revision[:12]}\npython workflows/cv.py run -e {origin.run}.yaml --run {origin.run}"
