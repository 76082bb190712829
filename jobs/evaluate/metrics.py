"""metrics.json: every figure of a run with what it was made from, for programs; and what Prometheus keeps of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from jobs.contract.experiment import Experiment
from jobs.contract.names import STUDY_CLASSES
from jobs.evaluate.history import TaskHistory
from jobs.evaluate.results import FoldResult, Results, Stated
from jobs.runtime import provenance
from jobs.scoring.intervals import LEVEL, Difference, Interval
from jobs.scoring.metric import ENGINE

# The study log's unit: map4 as a share of the six classes.
LOG_UNIT: Final = 4 / 6


@dataclass(frozen=True)
class Origin:
    """What a result was made from."""

    run: str
    experiment: Experiment
    dataset: str
    folds: tuple[int, ...]
    degraded: bool


def metrics(results: Results, tasks: Sequence[TaskHistory], origin: Origin) -> dict[str, Any]:
    """Everything as one JSON value; a figure that does not exist is null."""
    sheet = results.sheet
    return {
        "run": origin.run,
        "experiment": origin.experiment.name,
        "title": origin.experiment.title,
        "engine": ENGINE,
        "degraded": origin.degraded,
        "folds": list(origin.folds),
        "missing_folds": sorted(set(origin.experiment.folds.selected) - set(origin.folds)),
        "headline": {"figure": results.headline, "score": _number(results.figures[results.headline].score)},
        "figures": {name: _stated(one) for name, one in results.figures.items()},
        "study_log_unit": _number(results.figures["map4"].score * LOG_UNIT) if "map4" in results.figures else None,
        "classes": {name: _stated(one) for name, one in results.classes.items()},
        "left_out": results.left_out,
        "interval": {"over": "patients", "level": LEVEL, "resamples": origin.experiment.evaluation.bootstrap},
        "per_fold": [_fold(one) for one in results.folds],
        "fold_mean": _number(fold_mean(results.folds)),
        "fold_deviation": _number(fold_deviation(results.folds)),
        "calibration": {name: curve.error for name, curve in results.reliability.items()},
        "confusion": None
        if results.confusion is None
        else {"classes": list(STUDY_CLASSES), "rows_are_truth": results.confusion.tolist()},
        "data": {
            "dataset": origin.dataset,
            "patients": int(sheet.patient.max()) + 1,
            "studies": len(sheet.studies),
            "films": len(sheet.films),
        },
        "tasks": [_task(task) for task in tasks],
        "provenance": {
            "experiment": origin.experiment.model_dump(mode="json"),
            "experiment_hash": origin.experiment.hash,
            "seed": origin.experiment.seed,
            "revision": provenance.revision(),
            "versions": provenance.versions(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }


def scores(results: Results) -> dict[str, float]:
    """The headline scores, widest first; those that exist."""
    return {name: one.score for name, one in results.figures.items() if not math.isnan(one.score)}


def gauges(stored: Mapping[str, Any]) -> dict[tuple[str, str, str], float]:
    """What Prometheus keeps of metrics.json: (metric, label, value) → number; only numbers that exist."""
    numbers = {("cxrfold_class_ap", "class", name): one["score"] for name, one in stored["classes"].items()}
    for name, one in stored["figures"].items():
        bounds = one["interval"] or {"low": None, "high": None}
        numbers["cxrfold_score", "metric", name] = one["score"]
        numbers["cxrfold_score_low", "metric", name] = bounds["low"]
        numbers["cxrfold_score_high", "metric", name] = bounds["high"]
    return {key: value for key, value in numbers.items() if value is not None}


def fold_mean(folds: Sequence[FoldResult]) -> float:
    """Mean of the folds' scores; NaN without any."""
    known = [one.score for one in folds if not math.isnan(one.score)]
    return math.fsum(known) / len(known) if known else math.nan


def fold_deviation(folds: Sequence[FoldResult]) -> float:
    """Standard deviation of the folds' scores; NaN with fewer than two."""
    known = [one.score for one in folds if not math.isnan(one.score)]
    if len(known) < 2:
        return math.nan
    mean = math.fsum(known) / len(known)
    return math.sqrt(math.fsum((score - mean) ** 2 for score in known) / (len(known) - 1))


def _stated(one: Stated) -> dict[str, Any]:
    return {
        "score": _number(one.score),
        "interval": _bounds(one.interval),
        "untrained": _number(one.untrained),
        "gain": _gain(one.gain),
    }


def _gain(gain: Difference | None) -> dict[str, Any] | None:
    if gain is None:
        return None
    return {
        "value": _number(gain.value),
        "interval": _bounds(gain.interval),
        "p": gain.p,
        "beyond_noise": gain.beyond_noise,
    }


def _fold(one: FoldResult) -> dict[str, Any]:
    return {
        "fold": one.fold,
        "score": _number(one.score),
        "error": _number(one.error),
        "z": _number(one.verdict.z) if one.verdict else None,
        "outlying": one.verdict.outlying if one.verdict else None,
        "classes": {name: _number(ap) for name, ap in one.aps.items()},
        "left_out": one.left_out,
        "patients": one.patients,
        "studies": one.studies,
        "films": one.films,
    }


def _task(task: TaskHistory) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if task.best and task.last:
        said |= {
            "epochs": len(task.epochs),
            "best": {name: task.best.get(name) for name in ("epoch", "val_score", "train_score")},
            "last": {name: task.last.get(name) for name in ("epoch", "val_score", "train_score")},
        }
    if task.candidates:
        said["search"] = {**task.works["search"].scores, "candidates": list(task.candidates)}
    return {
        "stage": task.id.stage,
        "model": task.id.model,
        "fold": task.id.fold,
        "seconds": task.seconds,
        "peak_memory": task.peak_memory,
        "peak_gpu_memory": task.peak_gpu_memory,
        "device": task.device,
        "worth": task.worth,
        "works": {kind: done.digest for kind, done in task.works.items()},
        **said,
    }


def _bounds(around: Interval | None) -> dict[str, float] | None:
    return None if around is None else asdict(around)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
