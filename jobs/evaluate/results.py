"""The figures of a run: pure functions from submissions and labels to scores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from jobs.contract.exits import BadInput
from jobs.contract.names import ALL_CLASSES, STUDY_CLASSES
from jobs.scoring.evaluation_set import EvaluationSet, film2_table
from jobs.scoring.figures import FIGURES
from jobs.scoring.metric import (
    Bools,
    Floats,
    Ints,
    MatchTable,
    RankedClass,
    average_precisions,
    falling,
    left_out,
    mean_ap,
    precision_recall,
)
from jobs.scoring.statistics.calibration import Reliability, confusion, reliability
from jobs.scoring.statistics.intervals import (
    FoldComparison,
    Interval,
    PairedDifference,
    bootstrap,
    compare_folds,
    interval,
    mean_over_classes,
    paired,
)
from jobs.scoring.submission import Submission, study_id

# A standard error needs fewer resamples than the ends of an interval.
FOLD_RESAMPLES = 200


@dataclass(frozen=True)
class Predictions:
    """The predictions of the trained nets, or of the same nets before their first step."""

    submission: Submission
    films: pd.DataFrame | None  # film-level none and opacity, where a model predicts them


@dataclass(frozen=True)
class MatchedPredictions:
    """Predictions after matching with the ground truth.

    Attributes:
        table: all classes after matching.
        confidence: (n,) the predictions' confidences, in input order.
        patient: (units,) each unit's patient.
        fold: (units,) each unit's fold.
        samples: (resamples, classes) average precisions in resamples of patients.
    """

    table: MatchTable
    confidence: Floats
    patient: Ints
    fold: Ints
    samples: Floats

    def score(self, classes: tuple[str, ...]) -> float:
        """Return the mean AP over classes; NaN where none of them has ground truth."""
        return mean_ap(average_precisions(self.table), classes)

    def resampled(self, classes: tuple[str, ...]) -> Floats:
        """Return the mean AP over classes in every resample, (resamples,)."""
        return mean_over_classes(self.samples[:, [self.table.classes.index(name) for name in classes]])

    @property
    def correct(self) -> Bools:
        """(n,) which predictions are correct, in input order."""
        correct = np.zeros(len(self.confidence), dtype=bool)
        for ranked in self.table.ranked:
            correct[ranked.index[ranked.hits]] = True
        return correct

    def ranked(self, name: str) -> RankedClass:
        """Return one class after matching."""
        return self.table.ranked[self.table.classes.index(name)]


@dataclass(frozen=True)
class ScoreSummary:
    """A score, its interval, and its gain over the untrained nets.

    Attributes:
        score: on all patients; NaN without ground truth.
        interval: over resampled patients; None with too few resamples.
        untrained: the score of the same nets before their first step; NaN on a test set.
        gain: score minus untrained; None with too few resamples, or on a test set.
    """

    score: float
    interval: Interval | None
    untrained: float
    gain: PairedDifference | None


@dataclass(frozen=True)
class FoldResult:
    """The headline of one fold: its score, standard error, and comparison with the other folds."""

    fold: int
    patients: int
    studies: int
    films: int
    score: float
    error: float  # bootstrap standard error; NaN with too few resamples
    aps: dict[str, float]
    comparison: FoldComparison | None

    @property
    def left_out(self) -> list[str]:
        """Classes without ground truth in this fold."""
        return left_out(self.aps)


@dataclass(frozen=True)
class Results:
    """All figures of a run; the first of ``figures`` is the headline.

    Attributes:
        figures: name → score, widest first.
        classes: class → average precision.
        truths: class → number of ground truths.
        folds: the headline of each fold; none on a test set.
        curves: class → recall and precision at each correct prediction.
        reliability: class → reliability curve.
        confusion: counts of studies, rows true classes, columns the most probable ones; None without study classes.
        evaluation_set: the scored units and their ground truth.
        correct: (n,) whether each prediction of the submission is correct, in its order.
        matched: the headline's predictions after matching.
    """

    figures: dict[str, ScoreSummary]
    classes: dict[str, ScoreSummary]
    truths: dict[str, int]
    folds: list[FoldResult]
    curves: dict[str, tuple[Floats, Floats]]
    reliability: dict[str, Reliability]
    confusion: Ints | None
    evaluation_set: EvaluationSet
    correct: Bools
    matched: MatchedPredictions

    @property
    def left_out(self) -> list[str]:
        """Classes without ground truth, which every mean leaves out."""
        return [name for name, count in self.truths.items() if not count]

    @property
    def headline(self) -> str:
        """The name of the widest figure."""
        return next(iter(self.figures))


def score_predictions(
    index: pd.DataFrame,
    trained: Predictions,
    untrained: Predictions | None,
    figures: Sequence[str],
    resamples: int,
    seed: int,
) -> Results:
    """Score predictions on the films of ``index``.

    Args:
        index: one row per film of the predicted folds.
        trained: the predictions to score.
        untrained: the predictions to compare with; None where there are none, as on a test set.
        figures: the figures that the run's models support, widest first.
        resamples: resamples of patients; 0 for no intervals.
        seed: the resamples' seed.

    Raises:
        BadInput: there are no films, or films without labels.
    """
    if index.empty:
        raise BadInput("The folds of this run have no films to score: use more patients or fewer folds.")
    evaluation_set = EvaluationSet.from_index(index)
    after = match_figures(index, evaluation_set, trained, figures, resamples, seed)
    before = match_figures(index, evaluation_set, untrained, figures, resamples, seed) if untrained else {}
    source = figure_of_classes(figures)
    classes = list(source)
    headline = figures[0]
    return Results(
        figures={name: _summary(after[name], before.get(name), FIGURES[name]) for name in figures},
        classes={name: _summary(after[source[name]], before.get(source[name]), (name,)) for name in classes},
        truths={name: int(after[source[name]].ranked(name).truths.sum()) for name in classes},
        folds=_folds(after[headline], FIGURES[headline], evaluation_set, min(resamples, FOLD_RESAMPLES), seed),
        curves={name: precision_recall(after[source[name]].ranked(name)) for name in classes},
        reliability=reliabilities({name: after[source[name]] for name in classes}),
        confusion=_confusion(evaluation_set, trained.submission) if "map4" in figures else None,
        evaluation_set=evaluation_set,
        correct=after["submission"].correct,
        matched=after[headline],
    )


def figure_of_classes(figures: Sequence[str]) -> dict[str, str]:
    """Return the classes that figures cover, in order, each with the widest figure that it is scored in."""
    source = {name: figure for figure in reversed(figures) for name in FIGURES[figure]}
    return {name: source[name] for name in ALL_CLASSES if name in source}


def match_figures(
    index: pd.DataFrame,
    evaluation_set: EvaluationSet,
    predictions: Predictions,
    figures: Sequence[str],
    resamples: int,
    seed: int,
) -> dict[str, MatchedPredictions]:
    """Match the submission, and film-level probabilities for ``film2``; figure → what it is computed from."""
    table = evaluation_set.match(predictions.submission, "the ensemble's submission")
    confidence = predictions.submission.detections.confidence
    samples = bootstrap(table, evaluation_set.patient, resamples, seed)
    matched = MatchedPredictions(table, confidence, evaluation_set.patient, evaluation_set.fold, samples)
    matches = dict.fromkeys(["submission", *figures], matched)
    if "film2" in figures:
        if predictions.films is None:
            raise BadInput(
                "The ensemble stored no film-level probabilities although a model predicts them: run it again."
            )
        films = predictions.films.set_index("image").loc[list(evaluation_set.films)]
        none, opacity = films["none"].to_numpy(), films["opacity"].to_numpy()
        boxes = index.set_index("image")["boxes"].loc[list(evaluation_set.films)]
        table = film2_table(np.array([len(of_film) > 0 for of_film in boxes]), none, opacity)
        patient, fold = (
            evaluation_set.patient[len(evaluation_set.studies) :],
            evaluation_set.fold[len(evaluation_set.studies) :],
        )
        samples = bootstrap(table, patient, resamples, seed)
        matches["film2"] = MatchedPredictions(table, np.concatenate([none, opacity]), patient, fold, samples)
    return matches


def _summary(after: MatchedPredictions, before: MatchedPredictions | None, classes: tuple[str, ...]) -> ScoreSummary:
    score, around = after.score(classes), interval(after.resampled(classes))
    if before is None:
        return ScoreSummary(score, around, float("nan"), None)
    untrained = before.score(classes)
    gain = paired(score - untrained, before.resampled(classes), after.resampled(classes)) if around else None
    return ScoreSummary(score, around, untrained, gain)


def _folds(
    matched: MatchedPredictions, classes: tuple[str, ...], evaluation_set: EvaluationSet, resamples: int, seed: int
) -> list[FoldResult]:
    results = []
    for fold in np.unique(matched.fold[matched.fold >= 0]):
        here = matched.fold == fold
        aps = average_precisions(matched.table, here.astype(np.float64))
        patients = np.unique(matched.patient[here])
        samples = bootstrap(matched.table, matched.patient, resamples, seed, among=patients)
        columns = [matched.table.classes.index(name) for name in classes]
        around = interval(mean_over_classes(samples[:, columns]))
        results.append(
            FoldResult(
                fold=int(fold),
                patients=len(patients),
                studies=int((evaluation_set.fold[: len(evaluation_set.studies)] == fold).sum()),
                films=int((evaluation_set.fold[len(evaluation_set.studies) :] == fold).sum()),
                score=mean_ap(aps, classes),
                error=around.error if around else float("nan"),
                aps={name: aps[name] for name in classes},
                comparison=None,
            )
        )
    known = [result for result in results if np.isfinite([result.score, result.error]).all()]
    if len(known) < 2:
        return results
    comparisons = compare_folds([result.score for result in known], [result.error for result in known])
    of_fold = dict(zip([result.fold for result in known], comparisons, strict=True))
    return [replace(result, comparison=of_fold.get(result.fold)) for result in results]


def reliabilities(matches: dict[str, MatchedPredictions]) -> dict[str, Reliability]:
    """Return the reliability curve of each class, given what it is matched in; without classes that have none."""
    curves = {}
    for name, matched in matches.items():
        index = matched.ranked(name).index
        curve = reliability(matched.confidence[index], matched.correct[index])
        if curve is not None:
            curves[name] = curve
    return curves


def _confusion(evaluation_set: EvaluationSet, submission: Submission) -> Ints:
    """Count each study's true class against its most probable one."""
    detections = submission.detections
    row = {name: number for number, name in enumerate(submission.ids)}
    order = falling(detections.confidence)
    units, first = np.unique(detections.unit[order], return_index=True)
    top = dict(zip(units.tolist(), detections.label[order][first].tolist(), strict=True))
    labels = [top[row[study_id(study)]] for study in evaluation_set.studies]
    truth = evaluation_set.truth.label[: len(evaluation_set.studies)]
    return confusion(truth, np.array(labels, dtype=np.int64), len(STUDY_CLASSES))
