"""The study log as tables: CSV for programs, Markdown for people; one record per experiment and fold."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.contract.durations import duration
from jobs.contract.stored.records import without_text
from workflows.study import wording
from workflows.study.author import version
from workflows.study.collect import LogEntry, LogRow
from workflows.study.comparison import Comparison
from workflows.study.seeds import seed_ranges

Record = dict[str, Any]


def records(entries: Sequence[LogEntry], comparisons: Mapping[str, Comparison]) -> list[Record]:
    """One record per experiment and fold: the author's columns first, then further ones. Unknown values are None."""
    return [_record(entry, fold, comparisons.get(entry.run)) for entry in entries for fold in entry.folds]


def as_csv(rows: Sequence[Record]) -> str:
    """Format records as CSV: numbers unrounded, empty cells for unknown values."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_markdown(entries: Sequence[LogEntry], comparisons: Mapping[str, Comparison]) -> str:
    """Two tables: the log, and each experiment's pooled score compared with its parent's."""
    log = [row for entry in entries for row in log_rows(entry)]
    pooled = [pooled_row(entry, entries, comparisons.get(entry.run)) for entry in entries]
    return "\n".join(
        ["# Study log", "", *_table(LOG_HEAD, log), "", "## Pooled out of fold", "", *_table(POOLED_HEAD, pooled), ""]
        + [f"- {note}" for note in notes(entries)]
        + [""]
    )


LOG_HEAD = (
    "number", "fold", "learning rate", "time", "score", "backbone", "epochs", "batch", "optimiser", "remark", "size",
    "unit", "author's score", "train − val", "inference adds", "device", "peak memory", "GPU memory",
)  # fmt: skip
POOLED_HEAD = (
    "experiment", "unit", "score", "95 % interval", "against", "difference", "95 % interval of it", "over", "p",
    "verdict", "device hours", "seed", "dataset", "code",
)  # fmt: skip


def log_rows(entry: LogEntry) -> list[tuple[str, ...]]:
    """An experiment's rows of the log, one per fold, formatted."""
    experiment = entry.studied.experiment
    number = f"{experiment.name} ({label})" if (label := version(experiment.name)) else experiment.name
    rates, size = (wording.of_models(experiment, say) for say in (wording.learning_rate, wording.size))
    settings = [
        wording.of_models(experiment, say)
        for say in (wording.net, wording.epochs, wording.batch, lambda model: model.optimizer)
    ]
    return [
        (
            number, str(fold.fold), rates, duration(fold.seconds), wording.score(fold.score), *settings,
            remark(entry, fold), size, entry.figure, wording.score(fold.author),
            wording.signed(fold.overfitting), wording.worth(fold.worth), fold.device, wording.megabytes(fold.memory),
            wording.megabytes(fold.gpu_memory),
        )
        for fold in entry.folds
    ]  # fmt: skip


def pooled_row(entry: LogEntry, entries: Sequence[LogEntry], comparison: Comparison | None) -> tuple[str, ...]:
    """An experiment's pooled score and its comparison with the parent, formatted."""
    names = {one.run: one.name for one in entries}
    seconds = entry.device_seconds
    facts = ("" if seconds is None else f"{seconds / 3600:.2f}", str(entry.studied.experiment.seed))
    origin = (entry.dataset[:12], short(entry.revision))
    interval = "" if entry.low is None or entry.high is None else f"{entry.low:.3f} – {entry.high:.3f}"
    score = (entry.name, entry.figure, wording.score(entry.score) + without_text(entry.missing_folds), interval)
    if comparison is None:
        return (*score, "", "", "", "", "", "", *facts, *origin)
    against = names.get(comparison.parent, comparison.parent)
    if comparison.value is None:
        return (*score, against, "", "", "", "", comparison.verdict, *facts, *origin)
    figure = "" if comparison.figure == entry.figure else f" ({comparison.figure})"
    return (
        *score, against, f"{comparison.value:+.4f}{figure}", f"{comparison.low:+.3f} to {comparison.high:+.3f}",
        comparison.over, f"{comparison.p:.3f}", comparison.verdict, *facts, *origin,
    )  # fmt: skip


def remark(entry: LogEntry, fold: LogRow) -> str:
    """The remark of a row: why it failed, whether the fold is outlying, the recipe's own remark."""
    text = entry.studied.experiment.remark or entry.studied.experiment.title
    return "; ".join(filter(None, [fold.why, "stands out from the other folds" if fold.outlying else "", text]))


def short(revision: str) -> str:
    """Abbreviate a git revision to eight characters, keeping a ``-dirty`` suffix."""
    commit, _, dirty = revision.partition("-")
    return commit[:8] + (f"-{dirty}" if dirty else "")


def notes(entries: Sequence[LogEntry]) -> list[str]:
    """Notes under the tables: units, what counts as noise, what the columns mean."""
    engines = sorted({entry.engine for entry in entries if entry.engine})
    texts = [f"Scores are by {engine}. Multiply map4 by 4/6 for the unit of the author's log." for engine in engines]
    texts.append(
        "Noise is the variation over patients: both runs are scored on the same bootstrap samples of patients. Where "
        f"the two do not share every training, it includes the variation over seeds: {_seed_note(seed_ranges(entries))}"
    )
    if any(fold.author is not None for entry in entries for fold in entry.folds):
        texts.append(
            "The author's scores are of the competition's films and his own split, converted to our figures. They are "
            "not comparable with scores on other films."
        )
    if any(fold.overfitting for entry in entries for fold in entry.folds):
        texts.append(
            "train − val is the training minus the validation score of each model at the epoch whose weights are used."
        )
    if any(fold.worth for entry in entries for fold in entry.folds):
        texts.append(
            "inference adds: the score minus the score of the same weights at the training size, or without test-time "
            "augmentation."
        )
    return texts


def _seed_note(ranges: Mapping[str, float]) -> str:
    moved = ", ".join(f"{figure} by up to {spread:.3f}" for figure, spread in ranges.items())
    return f"here seeds move {moved}." if moved else "no setting here has several seeds; see remarks/noise-*."


def _record(entry: LogEntry, fold: LogRow, comparison: Comparison | None) -> Record:
    experiment = entry.studied.experiment
    comparison = comparison or Comparison("")
    return {
        "experiment": entry.name,
        "version": version(entry.name),
        "fold": fold.fold,
        "learning_rate": wording.of_models(experiment, wording.learning_rate),
        "time_s": _rounded(fold.seconds, 1),
        "score": fold.score,
        "net": wording.of_models(experiment, wording.net),
        "epochs": wording.of_models(experiment, wording.epochs),
        "batch": wording.of_models(experiment, wording.batch),
        "optimizer": wording.of_models(experiment, lambda model: model.optimizer),
        "remark": remark(entry, fold),
        "size": wording.of_models(experiment, wording.size),
        "state": "failed" if fold.why else "scored",
        "unit": entry.figure,
        "engine": entry.engine,
        "author_score": fold.author,
        "outlying": fold.outlying,
        "train_minus_val": between(fold.overfitting),
        **{f"{choice}_adds": between(fold.worth.get(choice, ())) for choice in ("size", "tta")},
        "pooled_score": entry.score,
        "pooled_low": entry.low,
        "pooled_high": entry.high,
        "missing_folds": " ".join(map(str, entry.missing_folds)),
        "parent_run": comparison.parent,
        "difference_in": comparison.figure,
        "difference": comparison.value,
        "difference_low": comparison.low,
        "difference_high": comparison.high,
        "difference_patients": comparison.patients,
        "p": comparison.p,
        "seed_range": comparison.seeds,
        "verdict": comparison.verdict,
        "seed": experiment.seed,
        "dataset": entry.dataset,
        "code": entry.revision,
        "device": fold.device,
        "device_hours": None if fold.seconds is None else round(fold.seconds / 3600, 4),
        "peak_memory_bytes": fold.memory,
        "peak_gpu_memory_bytes": fold.gpu_memory,
        "run": entry.run,
    }


def between(values: Sequence[float]) -> str:
    """Join the numbers of several models in one cell."""
    return wording.BETWEEN_MODELS.join(f"{value:.6f}" for value in values)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
