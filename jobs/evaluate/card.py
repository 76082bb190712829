"""card.md: a model card (Mitchell et al. 2019) of a run, written from what is known."""

from collections.abc import Mapping
from typing import Any, Final

from jobs.contract.experiment import Classifier, Experiment, Model
from jobs.contract.experiment.source import PREFIX
from jobs.evaluate.formatting import DASH, number, source_text
from jobs.evaluate.groups import group_rows
from jobs.evaluate.metrics_json import ReportedRun
from jobs.evaluate.results import Results
from jobs.runtime.pages import text_template

OWN_LICENCE: Final = "Apache-2.0 (the code)"
DETECTOR_LICENCE: Final = "Apache-2.0 (the code); AGPL-3.0 for what uses ultralytics, the detector"


def render(results: Results, metrics: Mapping[str, Any], run: ReportedRun) -> str:
    """Return the card.

    Args:
        results: the figures.
        metrics: the content of metrics.json.
        run: the run that the figures are of.
    """
    experiment = run.experiment
    return text_template("jobs.evaluate", "card.md.j2").render(
        m=metrics,
        title=experiment.title or experiment.name,
        models=[_model(name, model) for name, model in experiment.models.items()],
        licence=DETECTOR_LICENCE if experiment.detectors else OWN_LICENCE,
        source=source_text(experiment.data.source),
        beside=[source_text(extra.source) for extra in experiment.data.extra],
        shares=[f"{name} {count:,}" for name, count in results.truths.items()],
        folds=f"{len(run.folds)} of {experiment.folds.count} folds",
        scores=[
            (name, _text(summary["score"]), _around(summary["interval"]))
            for name, summary in {**metrics["figures"], **metrics["classes"]}.items()
        ],
        compared=_compared(metrics),
        calibration=[f"{name} {error:.3f}" for name, error in metrics["calibration"].items()],
        scaling=_scaling(metrics),
        groups=group_rows(metrics["groups"]) if metrics["groups"] else [],
        limits=_limits(results, experiment, run, metrics),
    )


def _model(name: str, model: Model) -> str:
    if isinstance(model, Classifier):
        kind, epochs = f"classifier {model.backbone}", sum(stage.epochs for stage in model.stages)
    else:
        kind, epochs = f"detector {model.model}", model.epochs
    start = f"from {model.weights}" if model.weights else "from random weights"
    return f"{name}: {kind}, {model.size} px, {start}, {epochs} epochs, {model.optimizer}"


def _compared(metrics: Mapping[str, Any]) -> list[tuple[str, ...]]:
    if not metrics["external"]:
        return []
    rows: list[tuple[str, ...]] = []
    for name, one in {**metrics["external"]["figures"], **metrics["external"]["classes"]}.items():
        gain = one["difference"]
        around = f"{gain['interval']['low']:+.3f} to {gain['interval']['high']:+.3f}" if gain else DASH
        scores = (_text(one["external"]["score"]), _text(one["out_of_fold"]["score"]))
        rows.append((name, *scores, f"{gain['value']:+.3f}" if gain else DASH, around))
    return rows


def _scaling(metrics: Mapping[str, Any]) -> str:
    found = metrics["temperature"]
    if not found:
        return ""
    before, after = (f"{found['error'][when]:.3f}" for when in ("before", "after"))
    temperature = f"{found['temperature']:.2f}"
    return f"Of a study's most probable class it is {before}, and {after} scaled with the temperature {temperature}."


def _limits(results: Results, experiment: Experiment, run: ReportedRun, metrics: Mapping[str, Any]) -> list[str]:
    limits = []
    if experiment.data.source.startswith(PREFIX):
        limits.append("The films are synthetic: the scores say nothing about patients.")
    if run.degraded:
        limits.append(f"Folds {', '.join(map(str, run.missing_folds))} are missing from the scores.")
    if run.external and run.external.overlap.left_out:
        limits.append(f"Left out of the scores: {run.external.overlap.sentence()}")
    if run.external and run.external.unlabelled:
        limits.append(f"Studies without a label, predicted but not scored: {run.external.unlabelled}.")
    if results.left_out:
        limits.append(f"No film of {', '.join(results.left_out)}: these classes are not scored.")
    if not run.external and any(model.inference.select == "best" for model in experiment.models.values()):
        limits.append("Epochs were chosen on the folds that they are scored on: the scores are a little too good.")
    groups = metrics["groups"]
    if groups and groups["tested"] < len(groups["groups"]):
        untested = [f"{group['attribute']} {group['group']}" for group in groups["groups"] if group["p"] is None]
        limits.append(f"Groups too small to be tested: {', '.join(untested)}.")
    if not run.external:
        limits.append("All folds are of one source: how the nets do elsewhere is not known from this run.")
    return limits


def _text(score: float | None) -> str:
    return DASH if score is None else number(score)


def _around(interval: Mapping[str, float] | None) -> str:
    return f"{number(interval['low'])} – {number(interval['high'])}" if interval else DASH
