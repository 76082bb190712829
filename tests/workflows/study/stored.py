"""Runs as a study finds them in a store: made up, nothing is trained."""

from typing import Any

from jobs.contract.experiment import Experiment
from jobs.contract.stored import layout
from workflows.study.selection import StudyExperiment

ENGINE = "cxrfold: PASCAL VOC 2010"
DATASET = "d" * 64


def studied(name: str, parent: str | None = None, folds: int = 2, **changes: Any) -> StudyExperiment:
    """An experiment with a classifier, or what the changes say."""
    settings: dict[str, Any] = {"name": name, "folds": {"count": folds}, "classifiers": {"b3": {}}, **changes}
    return StudyExperiment(Experiment.model_validate(settings), parent)


def metrics(of: StudyExperiment, scores: list[float], figure: str = "map4") -> dict[str, Any]:
    """What evaluate publishes, as far as the log reads it."""
    models = [*of.experiment.classifiers, *of.experiment.detectors]
    folds = of.experiment.folds.selected
    return {
        "engine": ENGINE,
        "missing_folds": [fold for number, fold in enumerate(folds) if number >= len(scores) - 1],
        "headline": {"figure": figure, "score": scores[0]},
        "figures": {figure: {"score": scores[0], "interval": {"low": scores[0] - 0.1, "high": scores[0] + 0.1}}},
        "per_fold": [
            {"fold": fold, "score": score, "outlying": score > 0.9}
            for fold, score in zip(folds, scores[1:], strict=False)
        ],
        "tasks": [
            {"stage": "prepare", "model": None, "fold": None, "seconds": 9.0, "device": "cpu", "peak_memory": 1,
             "peak_gpu_memory": 0, "worth": {}},
            *(
                {"stage": "train", "model": model, "fold": fold, "seconds": 1800.0, "device": "NVIDIA H100",
                 "peak_memory": 2_000_000_000, "peak_gpu_memory": 5_000_000_000, "worth": {"tta": 0.003},
                 "best": {"epoch": 3, "train_score": 0.9, "val_score": 0.7},
                 "last": {"epoch": 5, "train_score": 0.95, "val_score": 0.6}}
                for model in models for fold in folds
            ),
        ],
        "data": {"dataset": DATASET},
        "provenance": {"revision": "0123456789abcdef-dirty"},
    }  # fmt: skip


def store_run(
    store: Any, of: StudyExperiment, scores: list[float] | None = None, figure: str = "map4"
) -> StudyExperiment:
    """Leave a run in the store: scored, or only begun."""
    store.put(layout.run_experiment(of.run), of.experiment.model_dump_json().encode())
    if scores is not None:
        store.put_json(layout.report(of.run, "metrics.json"), metrics(of, scores, figure))
    return of
