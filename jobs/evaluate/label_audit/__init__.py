"""labels.html and labels.csv: the labels of studies and boxes that the out-of-fold predictions doubt most."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from jobs.contract.names import CLASS_NUMBERS, STUDY_CLASSES
from jobs.evaluate.formatting import number
from jobs.runtime.pages import page_template
from jobs.scoring import kernels
from jobs.scoring.evaluation_set import EvaluationSet
from jobs.scoring.statistics.label_errors import doubted_boxes, doubted_classes
from jobs.scoring.submission import Submission, film_id
from jobs.scoring.temperature import study_probabilities

SHOWN: Final = 24  # films of a kind that the page shows
STUDY, MISSING, SUPERFLUOUS = "study class", "box may be missing", "box may show nothing"
COLUMNS: Final = ("kind", "study", "image", "patient", "label", "suggested", "doubt", "counted", "box")


@dataclass(frozen=True)
class LabelAudit:
    """What out-of-fold predictions doubt of a run's labels.

    Attributes:
        rows: a row per doubted label, each kind by falling doubt: ``COLUMNS``. ``counted`` says whether it is one of
            those that the estimate counts; ``box`` is ``xmin ymin xmax ymax`` in original pixels, empty for a study.
        estimates: kind → estimated number of wrong labels, and the number of labels; only kinds that are predicted.
    """

    rows: pd.DataFrame
    estimates: dict[str, tuple[float, int]]

    def as_json(self) -> dict[str, Any]:
        """Return the estimates as JSON."""
        return {kind: {"wrong": round(wrong, 1), "labels": labels} for kind, (wrong, labels) in self.estimates.items()}


def audit_labels(
    index: pd.DataFrame, evaluation_set: EvaluationSet, submission: Submission, *, studies: bool, boxes: bool
) -> LabelAudit:
    """Return the labels that predictions doubt.

    Args:
        index: the scored films.
        evaluation_set: of the index.
        submission: out-of-fold predictions.
        studies: whether a model predicts study classes.
        boxes: whether a model predicts boxes.
    """
    parts, estimates = [], {}
    films = index.sort_values("image").set_index("image")
    probability = study_probabilities(submission, evaluation_set) if studies else None
    if probability is not None:
        rows, estimates[STUDY] = _studies(films, evaluation_set, np.asarray(probability))
        parts.append(rows)
    if boxes:
        found, counts = _boxes(films, evaluation_set, submission)
        parts.append(found)
        estimates |= counts
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
    return LabelAudit(rows[list(COLUMNS)], estimates)


def _studies(
    films: pd.DataFrame, evaluation_set: EvaluationSet, probability: np.ndarray
) -> tuple[pd.DataFrame, tuple[float, int]]:
    label = evaluation_set.truth.label[: len(probability)]
    found = doubted_classes(probability, label)
    first = films.reset_index().drop_duplicates("study").set_index("study").loc[list(evaluation_set.studies)]
    rows = pd.DataFrame(
        {
            "kind": STUDY,
            "study": evaluation_set.studies,
            "image": list(first["image"]),
            "patient": list(first["patient"]),
            "label": [STUDY_CLASSES[one] for one in label],
            "suggested": [STUDY_CLASSES[one] for one in found.suggested],
            "doubt": found.doubt,
            "counted": found.confident,
            "box": "",
        }
    )
    kept = rows[(rows["doubt"] > 0) | rows["counted"]].sort_values("doubt", ascending=False, kind="stable")
    return kept, (found.wrong, len(label))


def _boxes(
    films: pd.DataFrame, evaluation_set: EvaluationSet, submission: Submission
) -> tuple[pd.DataFrame, dict[str, tuple[float, int]]]:
    opacity = CLASS_NUMBERS["opacity"]
    unit = {film_id(image): number for number, image in enumerate(films.index)}
    detections, truth = submission.detections, evaluation_set.truth
    mine = np.flatnonzero(detections.label == opacity)
    film = np.array([unit[submission.ids[row]] for row in detections.unit[mine]], dtype=np.int64)
    box, confidence = detections.box[mine], detections.confidence[mine]
    labelled = np.flatnonzero(truth.label == opacity)
    own_film = truth.unit[labelled] - len(evaluation_set.studies)
    own_box = truth.box[labelled]
    order = np.argsort(own_film, kind="stable")
    own_film, own_box = own_film[order], own_box[order]
    claim = kernels.claims(own_film, np.ascontiguousarray(own_box), film, np.ascontiguousarray(box), len(films))
    matched = claim >= 0
    best = np.zeros(len(own_film))
    np.maximum.at(best, claim[matched], confidence[matched])
    found = doubted_boxes(confidence, matched, best)

    def rows(kind: str, of: np.ndarray, places: np.ndarray, doubt: np.ndarray, suggested: str) -> pd.DataFrame:
        chosen = films.iloc[of]
        table = pd.DataFrame(
            {
                "kind": kind, "study": list(chosen["study"]), "image": list(chosen.index),
                "patient": list(chosen["patient"]), "label": "none" if kind == MISSING else "opacity",
                "suggested": suggested, "doubt": doubt, "counted": True,
                "box": [" ".join(f"{side:.1f}" for side in one) for one in places],
            }
        )  # fmt: skip
        return table.sort_values("doubt", ascending=False, kind="stable")

    missing, extra = found.missing, found.superfluous
    parts = [
        rows(MISSING, film[missing], box[missing], confidence[missing], "opacity"),
        rows(SUPERFLUOUS, own_film[extra], own_box[extra], 1 - best[extra], "none"),
    ]
    counts = {
        MISSING: (found.missing_count, len(own_film)),
        SUPERFLUOUS: (float(extra.sum()), len(own_film)),
    }
    return pd.concat(parts, ignore_index=True), counts


def render(audit: LabelAudit, run: str, films: pd.DataFrame, picture: Callable[[str], str]) -> str:
    """Return the page.

    Args:
        audit: the doubted labels.
        run: the run's name.
        films: index: image; with ``width`` and ``height``.
        picture: returns the data URL of a film.
    """
    kinds = []
    for kind, (wrong, labels) in audit.estimates.items():
        rows = audit.rows[audit.rows["kind"] == kind]
        shown = [_shown(row, films, picture) for row in rows.head(SHOWN).to_dict("records")]
        kinds.append({"name": kind, "wrong": f"{wrong:.0f}", "labels": labels, "listed": len(rows), "films": shown})
    return page_template("jobs.evaluate.label_audit", "labels.html.j2").render(run=run, kinds=kinds)


def _shown(row: Any, films: pd.DataFrame, picture: Callable[[str], str]) -> dict[str, Any]:
    sides = [float(side) for side in row["box"].split()]
    film = films.loc[row["image"]]
    box = dict(zip("xywh", (*sides[:2], sides[2] - sides[0], sides[3] - sides[1]), strict=True)) if sides else None
    return {
        **row,
        "doubt": number(row["doubt"]),
        "box": box,
        "width": int(film["width"]),
        "height": int(film["height"]),
        "pixels": picture(row["image"]),
    }
