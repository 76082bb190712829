"""From the models' predictions to one submission: pure, from tables to arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Ensemble
from jobs.contract.names import CLASS_NUMBERS, FILM_CLASSES, STUDY_CLASSES
from jobs.scoring.fusion import FilmBoxes, fuse
from jobs.scoring.metric import Detections, Floats
from jobs.scoring.none_rule import highest_confidence, none_probability
from jobs.scoring.submission import UNIT_BOX, Submission, film_id, study_id

_CORNERS = ["xmin", "ymin", "xmax", "ymax"]


@dataclass(frozen=True)
class Voter:
    """One voice in the ensemble: a model with its folds pooled, or on a test set each fold's net.

    Attributes:
        name: what messages call it.
        weight: how much it counts; with 0 it is not heard.
        table: a classifier's row a film (``image``, ``study`` and the probabilities its head was trained for), or a
            detector's row a box (``image``, ``xmin ymin xmax ymax``, ``confidence``).
    """

    name: str
    weight: float
    table: pd.DataFrame


@dataclass(frozen=True)
class Combined:
    """What the ensemble says.

    Attributes:
        submission: the competition's rows.
        films: a row a film with the film-level models' ``image``, ``none``, ``opacity``; None without such a model.
    """

    submission: Submission
    films: pd.DataFrame | None


def combine(
    index: pd.DataFrame, classifiers: Sequence[Voter], detectors: Sequence[Voter], settings: Ensemble
) -> Combined:
    """Combines predictions for the films of ``index``.

    Where no model gives study classes, all four get the same probability: the file stays valid and says nothing.

    Args:
        index: a row a film with ``image``, ``study``, ``width``, ``height``.
        classifiers: the classifiers' voices; together with the detectors' at least one.
        detectors: the detectors' voices.
        settings: the experiment's ``ensemble``.

    Raises:
        BadInput: a voice does not cover the films, or no source of ``none`` has a weight.
    """
    classifiers, detectors = ([one for one in voters if one.weight > 0] for voters in (classifiers, detectors))
    films = index.sort_values("image").reset_index(drop=True)
    studies = pd.Index(sorted(films["study"].unique()))
    of_study = [voter for voter in classifiers if set(STUDY_CLASSES) <= set(voter.table.columns)]
    of_film = [voter for voter in classifiers if set(FILM_CLASSES) <= set(voter.table.columns)]
    study = _mean(of_study, "study", studies, STUDY_CLASSES)
    film = _mean(of_film, "image", pd.Index(films["image"]), FILM_CLASSES)
    sources: dict[str, Floats] = {}
    fused = FilmBoxes(np.zeros(0, dtype=np.int64), np.zeros((0, 4)), np.zeros(0))
    if detectors:
        fused = fuse(
            [_film_boxes(voter, films) for voter in detectors],
            [voter.weight for voter in detectors],
            settings.fusion.iou,
            settings.fusion.floor,
        )
        sources["boxes"] = 1 - highest_confidence(fused.film, fused.confidence, len(films))
    if study is not None:
        sources["negative"] = study[studies.get_indexer(films["study"]), 0]
    if film is not None:
        # A joint head shares its probability with the study classes; between the two film classes it says this much.
        sources["film2"] = film[:, 0] / np.maximum(film.sum(axis=1), np.finfo(float).tiny)
    none = none_probability(sources, settings.none.model_dump())
    if study is None:
        study = np.full((len(studies), len(STUDY_CLASSES)), 1 / len(STUDY_CLASSES))
    submission = _submission(
        [study_id(one) for one in studies],
        [film_id(one) for one in films["image"]],
        _study_rows(study, settings.labels),
        _film_rows(none, fused, settings.fusion.repeat),
    )
    said = None if film is None else pd.DataFrame({"image": films["image"], "none": film[:, 0], "opacity": film[:, 1]})
    return Combined(submission, said)


def _mean(voters: Sequence[Voter], key: str, wanted: pd.Index, classes: Sequence[str]) -> Floats | None:
    """Weighted mean of the voters' probabilities, (wanted, classes); a study's are the mean over its films."""
    if not voters:
        return None
    total = sum(voter.weight for voter in voters)
    mean = np.zeros((len(wanted), len(classes)))
    for voter in voters:
        table = voter.table.groupby(key)[list(classes)].mean().reindex(wanted)
        absent = table.index[table.isna().any(axis=1)]
        if len(absent):
            kind = "studies" if key == "study" else "films"
            raise BadInput(
                f"{voter.name} says nothing of {len(absent)} of {len(wanted)} {kind} (the first is "
                f"{absent[0]}): its predictions are of other films. Remove them and resume the run."
            )
        mean += voter.weight / total * table.to_numpy(dtype=np.float64)
    return mean


def _film_boxes(voter: Voter, films: pd.DataFrame) -> FilmBoxes:
    """A detector's boxes with films by number, held within their films."""
    number = pd.Index(films["image"]).get_indexer(voter.table["image"])
    if (number < 0).any():
        first = voter.table["image"].iloc[int(np.argmax(number < 0))]
        raise BadInput(
            f"{voter.name} has boxes of films that are not asked for (the first is {first}): its predictions are of "
            "other films. Remove them and resume the run."
        )
    edge = films[["width", "height"]].to_numpy(dtype=np.float64)[number]
    box = np.clip(voter.table[_CORNERS].to_numpy(dtype=np.float64), 0, np.tile(edge, 2))
    # Where clipping, or rounding to a hundredth of a pixel, leaves nothing of a box, there is nothing to vote for.
    left = np.flatnonzero(((box[:, 2:] - box[:, :2]) > 0.02).all(axis=1))
    confidence = voter.table["confidence"].to_numpy(dtype=np.float64)
    return FilmBoxes(number[left].astype(np.int64), box[left], confidence[left])


def _study_rows(study: Floats, labels: str) -> Detections:
    """All four probabilities of each study, likeliest first; with ``labels: top`` the likeliest alone."""
    order = np.argsort(-study, axis=1, kind="stable")[:, : 1 if labels == "top" else None]
    number, width = order.shape
    return Detections(
        unit=np.repeat(np.arange(number), width),
        label=order.ravel(),
        confidence=np.take_along_axis(study, order, axis=1).ravel(),
        box=np.tile(UNIT_BOX, (number * width, 1)),
    )


def _film_rows(none: Floats, fused: FilmBoxes, repeat: int) -> Detections:
    """Each film's none, then its boxes by falling confidence, each as often as asked for."""
    films = len(none)
    unit = np.concatenate([np.arange(films), np.repeat(fused.film, repeat)])
    order = np.argsort(unit, kind="stable")
    boxes = len(fused.film) * repeat
    return Detections(
        unit=unit[order],
        label=np.concatenate([np.full(films, CLASS_NUMBERS["none"]), np.full(boxes, CLASS_NUMBERS["opacity"])])[order],
        confidence=np.concatenate([none, np.repeat(fused.confidence, repeat)])[order],
        box=np.concatenate([np.tile(UNIT_BOX, (films, 1)), np.repeat(fused.box, repeat, axis=0)])[order],
    )


def _submission(study_ids: list[str], film_ids: list[str], studies: Detections, films: Detections) -> Submission:
    return Submission(
        (*study_ids, *film_ids),
        Detections(
            unit=np.concatenate([studies.unit, films.unit + len(study_ids)]),
            label=np.concatenate([studies.label, films.label]),
            confidence=np.concatenate([studies.confidence, films.confidence]),
            box=np.concatenate([studies.box, films.box]),
        ),
    )
