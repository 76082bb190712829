"""The log as a table: a record an experiment and fold, for programs (CSV) and for people (Markdown)."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from workflows.study import wording
from workflows.study.author import version
from workflows.study.collect import Entry, Fold
from workflows.study.compare import Difference
from workflows.study.seeds import seeds_apart

Record = dict[str, Any]


def records(entries: Sequence[Entry], apart: Mapping[str, Difference]) -> list[Record]:
    """One record an experiment and fold: the author's columns first, then what he lacked. None where unknown."""
    return [_record(entry, fold, apart.get(entry.run)) for entry in entries for fold in entry.folds]


def as_csv(rows: Sequence[Record]) -> str:
    """Numbers as they are, nothing for what is not known."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_markdown(entries: Sequence[Entry], apart: Mapping[str, Difference]) -> str:
    """Two tables: the log, and each experiment's pooled score beside its parent's."""
    log = [row for entry in entries for row in log_rows(entry)]
    pooled = [pooled_row(entry, entries, apart.get(entry.run)) for entry in entries]
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
    "experiment", "unit", "score", "95 % interval", "against", "difference", "95 % interval of it", "p",
    "verdict", "device hours", "seed", "dataset", "code",
)  # fmt: skip


def log_rows(entry: Entry) -> list[tuple[str, ...]]:
    """An experiment's rows of the log, a fold each, as people read them."""
    experiment = entry.studied.experiment
    named = version(experiment.name)
    number = f"{experiment.name} ({named})" if named else experiment.name
    rates, size = (wording.of_models(experiment, say) for say in (wording.learning_rate, wording.size))
    settings = [
        wording.of_models(experiment, say)
        for say in (wording.net, wording.epochs, wording.batch, lambda model: model.optimizer)
    ]
    return [
        (
            number, str(fold.fold), rates, wording.duration(fold.seconds), wording.score(fold.score), *settings,
            remark(entry, fold), size, entry.figure, wording.score(fold.author),
            wording.signed(fold.overfitting), wording.worth(fold.worth), fold.device, wording.megabytes(fold.memory),
            wording.megabytes(fold.gpu_memory),
        )
        for fold in entry.folds
    ]  # fmt: skip


def pooled_row(entry: Entry, entries: Sequence[Entry], apart: Difference | None) -> tuple[str, ...]:
    """An experiment's pooled score and its difference from the parent, as people read them."""
    names = {one.run: one.name for one in entries}
    seconds = entry.device_seconds
    facts = ("" if seconds is None else f"{seconds / 3600:.2f}", str(entry.studied.experiment.seed))
    origin = (entry.dataset[:12], short(entry.revision))
    interval = "" if entry.low is None or entry.high is None else f"{entry.low:.3f} – {entry.high:.3f}"
    score = (entry.name, entry.figure, wording.score(entry.score), interval)
    if apart is None:
        return (*score, "", "", "", "", "", *facts, *origin)
    against = names.get(apart.parent, apart.parent)
    if apart.value is None:
        return (*score, against, "", "", "", apart.verdict, *facts, *origin)
    figure = "" if apart.figure == entry.figure else f" ({apart.figure})"
    return (
        *score, against, f"{apart.value:+.4f}{figure}", f"{apart.low:+.3f} to {apart.high:+.3f}", f"{apart.p:.3f}",
        apart.verdict, *facts, *origin,
    )  # fmt: skip


def remark(entry: Entry, fold: Fold) -> str:
    """What there is to say of a row: why it failed, whether the fold stands out, what the recipe says."""
    said = entry.studied.experiment.remark or entry.studied.experiment.title
    return "; ".join(filter(None, [fold.why, "stands out from the other folds" if fold.outlying else "", said]))


def short(revision: str) -> str:
    """A git revision as people say it."""
    commit, _, dirty = revision.partition("-")
    return commit[:8] + (f"-{dirty}" if dirty else "")


def notes(entries: Sequence[Entry]) -> list[str]:
    """What a reader must know to read the numbers right."""
    engines = sorted({entry.engine for entry in entries if entry.engine})
    said = [f"Scores are by {engine}. Multiply map4 by 4/6 for the unit of the author's log." for engine in engines]
    said.append(
        "Noise is what another choice of patients would do: both are scored on the same resamples of patients. Where "
        f"the two do not share every training, it is what another seed would do, too: {_of_seeds(seeds_apart(entries))}"
    )
    if any(fold.author is not None for entry in entries for fold in entry.folds):
        said.append(
            "The author's scores are of the competition's films and his own split, in the unit of ours; where ours are "
            "of other films, they stand beside them and do not compare."
        )
    if any(fold.overfitting for entry in entries for fold in entry.folds):
        said.append("train − val is the training minus the validation score of each model at the epoch that counts.")
    if any(fold.worth for entry in entries for fold in entry.folds):
        said.append(
            "inference adds: the score less what the same weights score at the training size, or without test-time "
            "augmentation."
        )
    return said


def _of_seeds(apart: Mapping[str, float]) -> str:
    said = ", ".join(f"{figure} by up to {far:.3f}" for figure, far in apart.items())
    return f"here seeds move {said}." if said else "no setting here has several seeds; see remarks/noise-*."


def _record(entry: Entry, fold: Fold, apart: Difference | None) -> Record:
    experiment = entry.studied.experiment
    apart = apart or Difference("")
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
        "parent_run": apart.parent,
        "difference_in": apart.figure,
        "difference": apart.value,
        "difference_low": apart.low,
        "difference_high": apart.high,
        "p": apart.p,
        "seeds_apart": apart.seeds,
        "verdict": apart.verdict,
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
    """Numbers of several models, in one cell."""
    return wording.BETWEEN_MODELS.join(f"{value:.6f}" for value in values)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
