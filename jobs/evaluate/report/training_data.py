"""What the nets of the report's run started from, and which films beside the folds they were trained on."""

from collections.abc import Sequence

from jobs.contract.experiment import Experiment
from jobs.contract.experiment.data import PseudoLabels
from jobs.evaluate.formatting import DASH, source_text
from jobs.evaluate.history import TaskHistory, by_model

OWN_LABELS = "their own label files"


def start_rows(trained: Sequence[TaskHistory], experiment: Experiment) -> list[dict[str, str]]:
    """Return model and start of each trained model; empty if all began at random."""
    models = by_model(trained)
    if not any(experiment.models[name].weights for name in models):
        return []
    return [{"model": name, "start": experiment.models[name].weights or "random weights"} for name in models]


def extra_rows(trained: Sequence[TaskHistory], experiment: Experiment) -> list[dict[str, str]]:
    """Return source, labels and films left out, by fold, of each entry of ``data.extra``."""
    # All trainings of a fold leave out the same films, since it validates on the same.
    of_folds = {task.id.fold: task.works["weights"].inputs.get("extra", ()) for task in trained}
    rows = []
    for number, extra in enumerate(experiment.data.extra):
        counts = {fold: len(entries[number].get("without", ())) for fold, entries in of_folds.items()}
        left_out = ", ".join(f"{count} in fold {fold}" for fold, count in sorted(counts.items()) if count)
        labels = labels_text(extra.labels) if extra.labels else OWN_LABELS
        rows.append({"source": source_text(extra.source), "labels": labels, "left_out": left_out or DASH})
    return rows


def labels_text(labels: PseudoLabels) -> str:
    """Return who labelled films and what of it counts, e.g. ``run b3, studies from 0.5, no boxes``."""
    boxes = f"boxes from {labels.boxes.above:g}, none under {labels.boxes.below:g}" if labels.boxes else "no boxes"
    studies = f"studies from {labels.keep:g}" if labels.keep else "all studies"
    return f"run {labels.run}: {studies}, {boxes}"
