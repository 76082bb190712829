"""The figures of a run: pure, from submissions and labels to numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from jobs.contract.exits import BadInput
from jobs.contract.names import ALL_CLASSES, STUDY_CLASSES
from jobs.scoring.answers import AnswerSheet, answer_sheet, film2_table
from jobs.scoring.calibration import Reliability, confusion, reliability
from jobs.scoring.figures import FIGURES
from jobs.scoring.intervals import (
    Difference,
    FoldVerdict,
    Interval,
    bootstrap,
    interval,
    judge_folds,
    mean_over_classes,
    paired,
)
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
from jobs.scoring.submission import Submission, study_id

# Standard errors need fewer resamples than the ends of an interval do.
FOLD_RESAMPLES = 200


@dataclass(frozen=True)
class Predictions:
    """One set of predictions: of the trained nets, or of the same nets before their first step."""

    submission: Submission
    films: pd.DataFrame | None  # film-level none and opacity, where a model gives them


@dataclass(frozen=True)
class Judged:
    """Predictions matched with the truth.

    Attributes:
        table: all classes after matching.
        confidence: (n,) of the predictions, in input order.
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
        """Mean AP over classes; NaN where none of them has ground truth."""
        return mean_ap(average_precisions(self.table), classes)

    def drawn(self, classes: tuple[str, ...]) -> Floats:
        """The same in every resample, (resamples,)."""
        return mean_over_classes(self.samples[:, [self.table.classes.index(name) for name in classes]])

    @property
    def right(self) -> Bools:
        """(n,) which predictions are right, in input order."""
        right = np.zeros(len(self.confidence), dtype=bool)
        for one in self.table.ranked:
            right[one.index[one.hits]] = True
        return right

    def ranked(self, name: str) -> RankedClass:
        """One class after matching."""
        return self.table.ranked[self.table.classes.index(name)]


@dataclass(frozen=True)
class Stated:
    """A score with what surrounds it.

    Attributes:
        score: on all patients; NaN without ground truth.
        interval: drawn over patients; None where it cannot be drawn.
        untrained: the score of the same nets before their first step.
        gain: score - untrained, None where it cannot be drawn.
    """

    score: float
    interval: Interval | None
    untrained: float
    gain: Difference | None


@dataclass(frozen=True)
class FoldResult:
    """One fold's headline: its score, how sure it is, and how it compares with the others."""

    fold: int
    patients: int
    studies: int
    films: int
    score: float
    error: float  # bootstrap standard error; NaN where it cannot be drawn
    aps: dict[str, float]
    verdict: FoldVerdict | None

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
        truths: class → how many ground truths it has.
        folds: the headline fold by fold.
        curves: class → recall and precision at each right prediction.
        reliability: class → whether its confidences mean what they say.
        confusion: counts of studies, rows the truth, columns the likeliest class; None without study classes.
        sheet: the truth.
        right: (n,) whether each prediction of the submission is right, in its order.
    """

    figures: dict[str, Stated]
    classes: dict[str, Stated]
    truths: dict[str, int]
    folds: list[FoldResult]
    curves: dict[str, tuple[Floats, Floats]]
    reliability: dict[str, Reliability]
    confusion: Ints | None
    sheet: AnswerSheet
    right: Bools

    @property
    def left_out(self) -> list[str]:
        """Classes without ground truth, which have no part in a mean."""
        return [name for name, count in self.truths.items() if not count]

    @property
    def headline(self) -> str:
        """The name of the widest figure."""
        return next(iter(self.figures))


def judge(
    index: pd.DataFrame, trained: Predictions, untrained: Predictions, figures: Sequence[str], resamples: int, seed: int
) -> Results:
    """Score predictions on the films of ``index``.

    Args:
        index: a row a film: the dataset's index, cut down to the folds that were predicted.
        trained: what is scored.
        untrained: what it is compared with.
        figures: the figures that the run's models give, widest first.
        resamples: resamples of patients behind an interval; with 0 there is none.
        seed: of the resamples.

    Raises:
        BadInput: there is nothing to score against.
    """
    if index.empty:
        raise BadInput("There is no film in the folds of this run; nothing can be scored.")
    sheet = answer_sheet(index)
    after, before = (
        _sides(index, sheet, predictions, figures, resamples, seed) for predictions in (trained, untrained)
    )
    source = {name: figure for figure in reversed(figures) for name in FIGURES[figure]}
    classes = [name for name in ALL_CLASSES if name in source]
    headline = figures[0]
    return Results(
        figures={name: _stated(after[name], before[name], FIGURES[name]) for name in figures},
        classes={name: _stated(after[source[name]], before[source[name]], (name,)) for name in classes},
        truths={name: int(after[source[name]].ranked(name).truths.sum()) for name in classes},
        folds=_folds(after[headline], FIGURES[headline], sheet, min(resamples, FOLD_RESAMPLES), seed),
        curves={name: precision_recall(after[source[name]].ranked(name)) for name in classes},
        reliability=_reliabilities({name: after[source[name]] for name in classes}),
        confusion=_confusion(sheet, trained.submission) if "map4" in figures else None,
        sheet=sheet,
        right=after["submission"].right,
    )


def _sides(
    index: pd.DataFrame, sheet: AnswerSheet, said: Predictions, figures: Sequence[str], resamples: int, seed: int
) -> dict[str, Judged]:
    """What each figure is computed from, and the submission itself; only film2 has a table of its own."""
    table = sheet.match(said.submission, "the ensemble's submission")
    confidence = said.submission.detections.confidence
    drawn = bootstrap(table, sheet.patient, resamples, seed)
    six = Judged(table, confidence, sheet.patient, sheet.fold, drawn)
    judged = dict.fromkeys(["submission", *figures], six)
    if "film2" in figures:
        if said.films is None:
            raise BadInput("The ensemble stored no film-level probabilities though a model gives them; run it again.")
        films = said.films.set_index("image").loc[list(sheet.films)]
        none, opacity = films["none"].to_numpy(), films["opacity"].to_numpy()
        boxes = index.set_index("image")["boxes"].loc[list(sheet.films)]
        table = film2_table(np.array([len(one) > 0 for one in boxes]), none, opacity)
        patient, fold = sheet.patient[len(sheet.studies) :], sheet.fold[len(sheet.studies) :]
        drawn = bootstrap(table, patient, resamples, seed)
        judged["film2"] = Judged(table, np.concatenate([none, opacity]), patient, fold, drawn)
    return judged


def _stated(after: Judged, before: Judged, classes: tuple[str, ...]) -> Stated:
    score, untrained = after.score(classes), before.score(classes)
    around = interval(after.drawn(classes))
    gain = paired(score - untrained, before.drawn(classes), after.drawn(classes)) if around else None
    return Stated(score, around, untrained, gain)


def _folds(judged: Judged, classes: tuple[str, ...], sheet: AnswerSheet, resamples: int, seed: int) -> list[FoldResult]:
    results = []
    for fold in np.unique(judged.fold):
        here = judged.fold == fold
        aps = average_precisions(judged.table, here.astype(np.float64))
        patients = np.unique(judged.patient[here])
        samples = bootstrap(judged.table, judged.patient, resamples, seed, among=patients)
        columns = [judged.table.classes.index(name) for name in classes]
        around = interval(mean_over_classes(samples[:, columns]))
        results.append(
            FoldResult(
                fold=int(fold),
                patients=len(patients),
                studies=int((sheet.fold[: len(sheet.studies)] == fold).sum()),
                films=int((sheet.fold[len(sheet.studies) :] == fold).sum()),
                score=mean_ap(aps, classes),
                error=around.error if around else float("nan"),
                aps={name: aps[name] for name in classes},
                verdict=None,
            )
        )
    known = [one for one in results if np.isfinite([one.score, one.error]).all()]
    if len(known) < 2:
        return results
    verdicts = judge_folds([one.score for one in known], [one.error for one in known])
    of_fold = dict(zip([one.fold for one in known], verdicts, strict=True))
    return [replace(one, verdict=of_fold.get(one.fold)) for one in results]


def _reliabilities(judged: dict[str, Judged]) -> dict[str, Reliability]:
    curves = {}
    for name, one in judged.items():
        index = one.ranked(name).index
        curve = reliability(one.confidence[index], one.right[index])
        if curve is not None:
            curves[name] = curve
    return curves


def _confusion(sheet: AnswerSheet, submission: Submission) -> Ints:
    """Each study's class against the likeliest one said of it."""
    said = submission.detections
    row = {one: number for number, one in enumerate(submission.ids)}
    order = falling(said.confidence)
    units, first = np.unique(said.unit[order], return_index=True)
    likeliest = dict(zip(units.tolist(), said.label[order][first].tolist(), strict=True))
    labels = [likeliest[row[study_id(study)]] for study in sheet.studies]
    truth = sheet.truth.label[: len(sheet.studies)]
    return confusion(truth, np.array(labels, dtype=np.int64), len(STUDY_CLASSES))
