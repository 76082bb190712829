"""Combines the models' predictions into one submission: pure functions from tables to arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Ensemble, Experiment
from jobs.contract.names import CLASS_NUMBERS, FILM_CLASSES, STUDY_CLASSES
from jobs.scoring.fusion import FilmBoxes, fuse
from jobs.scoring.metric import Detections, Floats
from jobs.scoring.none_rule import highest_confidence, none_probability
from jobs.scoring.statistics.calibration import scaled
from jobs.scoring.submission import FILM_SUFFIX, UNIT_BOX, Submission, film_id, study_id

_CORNERS = ["xmin", "ymin", "xmax", "ymax"]


@dataclass(frozen=True)
class Voter:
    """The predictions of one voter: a model with its folds pooled, or on a test set the net of one fold.

    Attributes:
        name: the model's name, for messages.
        weight: its weight in the ensemble; 0 leaves it out.
        table: of a classifier, one row per film (``image``, ``study`` and the probabilities its head was trained for);
            of a detector, one row per box (``image``, ``xmin ymin xmax ymax``, ``confidence``).
    """

    name: str
    weight: float
    table: pd.DataFrame

    def predicts(self, classes: Sequence[str]) -> bool:
        """Whether the table has probabilities of all these classes."""
        return set(classes) <= set(self.table.columns)


@dataclass(frozen=True)
class Combined:
    """The ensemble's predictions.

    Attributes:
        submission: the competition's rows.
        films: one row per film with ``image``, ``none`` and ``opacity`` of the film-level models; None without any.
    """

    submission: Submission
    films: pd.DataFrame | None


@dataclass(frozen=True)
class Merged:
    """The voters' predictions merged, before the submission is composed.

    Attributes:
        films: the films, sorted by image.
        studies: the studies, sorted.
        study: (studies, 4) probabilities; None without a model that predicts them.
        film: (films, 2) probabilities of none and opacity, likewise.
        boxes: the fused boxes.
        sources: (films,) probabilities of none by their source, see :class:`~jobs.contract.experiment.NoneRule`.
    """

    films: pd.DataFrame
    studies: pd.Index
    study: Floats | None
    film: Floats | None
    boxes: FilmBoxes
    sources: dict[str, Floats]


def voters_of(experiment: Experiment, tables: Mapping[str, Sequence[pd.DataFrame]]) -> tuple[list[Voter], list[Voter]]:
    """Return the classifiers' and the detectors' voters.

    Args:
        experiment: its models and the weights of its ``ensemble``.
        tables: model → a table per voter, among which the model's weight is divided. A model that is not in it has no
            vote.
    """

    def voters(model: str, ignored: Sequence[str] = ()) -> list[Voter]:
        weight = experiment.ensemble.weights.get(model, 1.0) / len(tables[model])
        return [Voter(model, weight, table.drop(columns=list(ignored), errors="ignore")) for table in tables[model]]

    classifiers = [
        voter
        for name, model in experiment.classifiers.items()
        if name in tables
        # Study classes that a head was not trained on are ignored.
        for voter in voters(name, () if model.answers_studies else STUDY_CLASSES)
    ]
    return classifiers, [voter for name in experiment.detectors if name in tables for voter in voters(name)]


def combine(
    index: pd.DataFrame, classifiers: Sequence[Voter], detectors: Sequence[Voter], settings: Ensemble
) -> Combined:
    """Combine predictions for the films of ``index``.

    Where no model predicts study classes, all four get the same probability, so that the file stays valid.

    Args:
        index: one row per film with ``image``, ``study``, ``width``, ``height``.
        classifiers: the classifiers' voters; together with the detectors' at least one.
        detectors: the detectors' voters.
        settings: the experiment's ``ensemble``.

    Raises:
        BadInput: a voter does not cover the films, or every source of ``none`` has weight 0.
    """
    return compose(merge(index, classifiers, detectors, settings), settings)


def merge(index: pd.DataFrame, classifiers: Sequence[Voter], detectors: Sequence[Voter], settings: Ensemble) -> Merged:
    """Merge predictions: means of probabilities, fused boxes. Arguments and errors are those of :func:`combine`."""
    classifiers, detectors = ([voter for voter in voters if voter.weight > 0] for voters in (classifiers, detectors))
    films = index.sort_values("image").reset_index(drop=True)
    studies = pd.Index(sorted(films["study"].unique()))
    of_study = [voter for voter in classifiers if voter.predicts(STUDY_CLASSES)]
    of_film = [voter for voter in classifiers if voter.predicts(FILM_CLASSES)]
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
        # A joint head spreads its probability over six classes: normalise over the two film classes.
        sources["film2"] = film[:, 0] / np.maximum(film.sum(axis=1), np.finfo(float).tiny)
    return Merged(films, studies, study, film, fused, sources)


def compose(merged: Merged, settings: Ensemble) -> Combined:
    """Apply the none rule and write the rows of the submission.

    Raises:
        BadInput: every source of ``none`` has weight 0.
    """
    none = none_probability(merged.sources, settings.none.model_dump())
    study, film, images = merged.study, merged.film, merged.films["image"]
    if study is None:
        study = np.full((len(merged.studies), len(STUDY_CLASSES)), 1 / len(STUDY_CLASSES))
    elif isinstance(settings.temperature, float):  # "fit" is for the ensemble stage, which knows labels
        study = scaled(study, settings.temperature)
    submission = _submission(
        [study_id(study_) for study_ in merged.studies],
        [film_id(image) for image in images],
        _study_rows(study, settings.labels),
        _film_rows(none, merged.boxes, settings.fusion.repeat),
    )
    if film is None:
        return Combined(submission, None)
    return Combined(submission, pd.DataFrame({"image": images, "none": film[:, 0], "opacity": film[:, 1]}))


def together(parts: Sequence[Combined]) -> Combined:
    """Join the predictions of disjoint sets of films: studies first, then films, each by name as in one part."""
    ids = [name for part in parts for name in part.submission.ids]
    order = sorted(range(len(ids)), key=lambda row: (ids[row].endswith(FILM_SUFFIX), ids[row]))
    place = np.argsort(np.array(order))
    starts = np.cumsum([0, *(len(part.submission.ids) for part in parts)])
    all_detections = [part.submission.detections for part in parts]
    unit = np.concatenate([place[found.unit + start] for found, start in zip(all_detections, starts, strict=False)])
    rows = np.argsort(unit, kind="stable")
    joined = Detections(
        unit=unit[rows],
        label=np.concatenate([found.label for found in all_detections])[rows],
        confidence=np.concatenate([found.confidence for found in all_detections])[rows],
        box=np.concatenate([found.box for found in all_detections])[rows],
    )
    films = [part.films for part in parts if part.films is not None]
    table = pd.concat(films).sort_values("image").reset_index(drop=True) if films else None
    return Combined(Submission(tuple(ids[row] for row in order), joined), table)


def _mean(voters: Sequence[Voter], key: str, wanted: pd.Index, classes: Sequence[str]) -> Floats | None:
    """Return the voters' weighted mean probabilities, (wanted, classes); a study's are the mean over its films."""
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
                f"{voter.name} has no predictions for {len(absent)} of {len(wanted)} {kind}, e.g. {absent[0]}: it "
                "predicted other films. Remove its predictions and resume the run."
            )
        mean += voter.weight / total * table.to_numpy(dtype=np.float64)
    return mean


def _film_boxes(voter: Voter, films: pd.DataFrame) -> FilmBoxes:
    """Return a detector's boxes with numbered films, clipped to their films."""
    number = pd.Index(films["image"]).get_indexer(voter.table["image"])
    if (number < 0).any():
        first = voter.table["image"].iloc[int(np.argmax(number < 0))]
        raise BadInput(
            f"{voter.name} has boxes on films outside this dataset, e.g. {first}: it predicted other films. Remove its "
            "predictions and resume the run."
        )
    edge = films[["width", "height"]].to_numpy(dtype=np.float64)[number]
    box = np.clip(voter.table[_CORNERS].to_numpy(dtype=np.float64), 0, np.tile(edge, 2))
    # Drop boxes that clipping, or rounding to a hundredth of a pixel, leaves without area.
    left = np.flatnonzero(((box[:, 2:] - box[:, :2]) > 0.02).all(axis=1))
    confidence = voter.table["confidence"].to_numpy(dtype=np.float64)
    return FilmBoxes(number[left].astype(np.int64), box[left], confidence[left])


def _study_rows(study: Floats, labels: str) -> Detections:
    """Return each study's four classes, most probable first; with ``labels: top`` only the most probable."""
    order = np.argsort(-study, axis=1, kind="stable")[:, : 1 if labels == "top" else None]
    number, width = order.shape
    return Detections(
        unit=np.repeat(np.arange(number), width),
        label=order.ravel(),
        confidence=np.take_along_axis(study, order, axis=1).ravel(),
        box=np.tile(UNIT_BOX, (number * width, 1)),
    )


def _film_rows(none: Floats, fused: FilmBoxes, repeat: int) -> Detections:
    """Return each film's ``none``, then its boxes by falling confidence, each ``repeat`` times."""
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
