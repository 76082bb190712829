"""metrics.json: every figure of a run and its provenance, for programs; and the gauges for Prometheus."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from jobs.contract.costs.table import CostRow
from jobs.contract.experiment import Experiment
from jobs.contract.names import STUDY_CLASSES
from jobs.evaluate.external import External
from jobs.evaluate.history import TaskHistory
from jobs.evaluate.results import FoldResult, Results, ScoreSummary
from jobs.runtime import provenance
from jobs.scoring.as_json import bounds, number
from jobs.scoring.metric import ENGINE
from jobs.scoring.statistics.intervals import LEVEL, PairedDifference
from jobs.scoring.temperature import Scaling

# The study log's unit: map4 as a share of the six classes.
LOG_UNIT: Final = 4 / 6


@dataclass(frozen=True)
class ReportedRun:
    """The run that the figures are of.

    Attributes:
        name: the run's name.
        experiment: its experiment.
        dataset: the dataset's hash.
        folds: the folds that are scored.
        degraded: whether selected folds are missing.
        search: what the ensemble's search chose and what that is worth; None without a search.
        external: the out-of-fold scores beside those of a test set; None in a run that trains.
        groups: figures of groups of patients; None where prepare kept no tags.
        scaling: what temperature scaling would do, or does; None without study classes.
        attempts: what the attempts at the run's tasks cost up to now, by task and device.
        currency: of their money; empty where the profile has no prices.
        doubted: kind of label → how many are estimated to be wrong; None on a test set.
    """

    name: str
    experiment: Experiment
    dataset: str
    folds: tuple[int, ...]
    degraded: bool
    search: Mapping[str, Any] | None = None
    external: External | None = None
    groups: dict[str, Any] | None = None
    scaling: Scaling | None = None
    attempts: Sequence[CostRow] = ()
    currency: str = ""
    doubted: dict[str, Any] | None = None

    @property
    def missing_folds(self) -> list[int]:
        """The selected folds that are not scored."""
        return sorted(set(self.experiment.folds.selected) - set(self.folds))


def metrics(results: Results, tasks: Sequence[TaskHistory], run: ReportedRun) -> dict[str, Any]:
    """Return everything as one JSON value; figures that do not exist are null."""
    evaluation_set = results.evaluation_set
    return {
        "run": run.name,
        "experiment": run.experiment.name,
        "title": run.experiment.title,
        "engine": ENGINE,
        "degraded": run.degraded,
        "folds": list(run.folds),
        "missing_folds": run.missing_folds,
        "headline": {"figure": results.headline, "score": number(results.figures[results.headline].score)},
        "figures": {name: _summary(summary) for name, summary in results.figures.items()},
        "study_log_unit": number(results.figures["map4"].score * LOG_UNIT) if "map4" in results.figures else None,
        "classes": {name: _summary(summary) for name, summary in results.classes.items()},
        "left_out": results.left_out,
        "search": run.search,
        "external": run.external.as_json(results) if run.external else None,
        "groups": run.groups,
        "interval": {"over": "patients", "level": LEVEL, "resamples": run.experiment.evaluation.bootstrap},
        "per_fold": [_fold(fold) for fold in results.folds],
        "fold_mean": number(fold_mean(results.folds)),
        "fold_deviation": number(fold_deviation(results.folds)),
        "calibration": {name: curve.error for name, curve in results.reliability.items()},
        "temperature": _scaling(run.scaling),
        "doubted_labels": run.doubted,
        "confusion": None
        if results.confusion is None
        else {"classes": list(STUDY_CLASSES), "rows_are_truth": results.confusion.tolist()},
        "data": {
            "dataset": run.dataset,
            "patients": int(evaluation_set.patient.max()) + 1,
            "studies": len(evaluation_set.studies),
            "films": len(evaluation_set.films),
        },
        "tasks": [_task(task) for task in tasks],
        "attempts": [asdict(row) for row in run.attempts],
        "currency": run.currency or None,
        "provenance": {
            "experiment": run.experiment.model_dump(mode="json"),
            "experiment_hash": run.experiment.hash,
            "seed": run.experiment.seed,
            "revision": provenance.revision(),
            "versions": provenance.versions(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }


def scores(results: Results) -> dict[str, float]:
    """Return the scores of all figures that exist, widest first."""
    return {name: summary.score for name, summary in results.figures.items() if not math.isnan(summary.score)}


def gauges(stored: Mapping[str, Any]) -> dict[tuple[str, str, str], float]:
    """Return the Prometheus gauges of a stored metrics.json: (metric, label name, label value) → number."""
    numbers = {("cxrfold_class_ap", "class", name): summary["score"] for name, summary in stored["classes"].items()}
    for name, summary in stored["figures"].items():
        bounds = summary["interval"] or {"low": None, "high": None}
        numbers["cxrfold_score", "metric", name] = summary["score"]
        numbers["cxrfold_score_low", "metric", name] = bounds["low"]
        numbers["cxrfold_score_high", "metric", name] = bounds["high"]
    return {key: value for key, value in numbers.items() if value is not None}


def fold_mean(folds: Sequence[FoldResult]) -> float:
    """Return the mean of the folds' scores; NaN without any."""
    known = [fold.score for fold in folds if not math.isnan(fold.score)]
    return math.fsum(known) / len(known) if known else math.nan


def fold_deviation(folds: Sequence[FoldResult]) -> float:
    """Return the standard deviation of the folds' scores; NaN with fewer than two."""
    known = [fold.score for fold in folds if not math.isnan(fold.score)]
    if len(known) < 2:
        return math.nan
    mean = math.fsum(known) / len(known)
    return math.sqrt(math.fsum((score - mean) ** 2 for score in known) / (len(known) - 1))


def _summary(summary: ScoreSummary) -> dict[str, Any]:
    return {
        "score": number(summary.score),
        "interval": bounds(summary.interval),
        "untrained": number(summary.untrained),
        "gain": _gain(summary.gain),
    }


def _scaling(found: Scaling | None) -> dict[str, Any] | None:
    if found is None:
        return None
    pairs = {"error": found.error, "loss": found.loss}
    changes = {name: {"before": number(before), "after": number(after)} for name, (before, after) in pairs.items()}
    return {"temperature": found.temperature, "studies": found.studies, **changes}


def _gain(gain: PairedDifference | None) -> dict[str, Any] | None:
    if gain is None:
        return None
    return {
        "value": number(gain.value),
        "interval": bounds(gain.interval),
        "p": gain.p,
        "beyond_noise": gain.beyond_noise,
    }


def _fold(fold: FoldResult) -> dict[str, Any]:
    return {
        "fold": fold.fold,
        "score": number(fold.score),
        "error": number(fold.error),
        "z": number(fold.comparison.z) if fold.comparison else None,
        "outlying": fold.comparison.outlying if fold.comparison else None,
        "classes": {name: number(ap) for name, ap in fold.aps.items()},
        "left_out": fold.left_out,
        "patients": fold.patients,
        "studies": fold.studies,
        "films": fold.films,
    }


def _task(task: TaskHistory) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if task.best and task.last:
        details |= {
            "epochs": len(task.epochs),
            "best": _epoch(task.best),
            "last": _epoch(task.last),
        }
    if task.candidates:
        details["search"] = {**task.works["search"].scores, "candidates": list(task.candidates)}
    return {
        "stage": task.id.stage,
        "model": task.id.model,
        "fold": task.id.fold,
        "seconds": task.seconds,
        "peak_memory": task.peak_memory,
        "peak_gpu_memory": task.peak_gpu_memory,
        "device": task.device,
        "precision": task.precision,
        "spent": dict(task.spent),
        "worth": task.gains,
        "works": {kind: done.digest for kind, done in task.works.items()},
        **details,
    }


def _epoch(epoch: Mapping[str, Any]) -> dict[str, Any]:
    """An epoch of a learning curve, counted from 1."""
    return {"epoch": epoch["epoch"] + 1, **{name: epoch.get(name) for name in ("val_score", "train_score")}}
