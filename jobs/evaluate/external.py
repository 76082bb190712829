"""A labelled test set beside the out-of-fold predictions of the run whose nets predicted it.

The two are of different patients, so each is resampled on its own, and a difference is that of two independent scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import pandas as pd

from jobs.contract.exits import BadInput, Damaged
from jobs.contract.experiment import Experiment
from jobs.contract.names import FILM_CLASSES, STUDY_CLASSES, Stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Done
from jobs.contract.task import TaskId
from jobs.evaluate.results import (
    MatchedPredictions,
    Predictions,
    Results,
    figure_of_classes,
    match_figures,
    reliabilities,
)
from jobs.films.lineage.shared_films import SharedFilms
from jobs.runtime.context import Context
from jobs.runtime.store import Missing
from jobs.runtime.work import fetch
from jobs.scoring.as_json import bounds, number
from jobs.scoring.evaluation_set import EvaluationSet
from jobs.scoring.figures import FIGURES, available_figures
from jobs.scoring.statistics.calibration import Reliability
from jobs.scoring.statistics.intervals import Interval, PairedDifference, interval, paired
from jobs.scoring.submission import only, read
from jobs.scoring.temperature import fit, study_probabilities


@dataclass(frozen=True)
class Compared:
    """A score on the test set and out of fold, over the classes that have ground truth in both.

    Attributes:
        external: on the test set.
        external_interval: over its patients; None with too few resamples.
        out_of_fold: on the run's own films.
        out_of_fold_interval: over their patients; None with too few resamples.
        difference: external less out of fold; None with too few resamples.
        left_out: classes without ground truth in one of the two.
    """

    external: float
    external_interval: Interval | None
    out_of_fold: float
    out_of_fold_interval: Interval | None
    difference: PairedDifference | None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class External:
    """The comparison of a labelled test set with out-of-fold predictions.

    Attributes:
        run: the run whose nets predicted the test set.
        figures: figure → both scores, widest first.
        classes: class → both average precisions.
        shares: class → its share of the studies or films, on the test set and out of fold.
        reliability: class → the out-of-fold predictions' reliability curve.
        patients: number of patients out of fold.
        unlabelled: studies of the test set without a label.
        overlap: what training has seen of the test set, and is left out.
        temperature: fitted out of fold; None without study classes.
    """

    run: str
    figures: Mapping[str, Compared]
    classes: Mapping[str, Compared]
    shares: Mapping[str, tuple[float, float]]
    reliability: Mapping[str, Reliability]
    patients: int
    unlabelled: int
    overlap: SharedFilms
    temperature: float | None

    def as_json(self, results: Results) -> dict[str, Any]:
        """Return the comparison as JSON."""
        return {
            "run": self.run,
            "figures": {name: _json(one) for name, one in self.figures.items()},
            "classes": {name: _json(one) for name, one in self.classes.items()},
            "shares": {name: {"external": one, "out_of_fold": other} for name, (one, other) in self.shares.items()},
            "calibration": {
                name: {"external": results.reliability[name].error, "out_of_fold": curve.error}
                for name, curve in self.reliability.items()
                if name in results.reliability
            },
            "patients_out_of_fold": self.patients,
            "unlabelled_studies": self.unlabelled,
            "overlap": asdict(self.overlap),
        }


@dataclass(frozen=True)
class OutOfFold:
    """The finished out-of-fold predictions of the run whose nets predict."""

    run: str
    experiment: Experiment
    submission: Done
    index: Done

    @property
    def digests(self) -> list[str]:
        """What they depend on, for hashes."""
        return [self.submission.digest, self.index.digest]


# The seeds of the two sets' resamples differ: they are independent.
APART: Final = 1


def find_out_of_fold(context: Context) -> OutOfFold:
    """Find the out-of-fold predictions of the run whose nets predict.

    Raises:
        BadInput: that run has none.
    """
    run = context.settings.from_run
    assert run is not None
    try:
        experiment = context.store.get_record(layout.run_experiment(run), Experiment)
        ensemble, prepare = (context.reference(run, TaskId(stage)).works for stage in (Stage.ENSEMBLE, Stage.PREPARE))
        _, submission = context.open_work(Stage.ENSEMBLE, ensemble["submission"])
        _, index = context.open_work(Stage.PREPARE, prepare["index"])
    except (Missing, Damaged) as error:
        raise BadInput(f"Run {run} has no out-of-fold scores to compare with: resume that run first.") from error
    if submission.inputs["dataset"] != index.outputs["index.parquet"].sha256:
        raise BadInput(f"Run {run} has prepared another dataset since its ensemble: resume that run first.")
    return OutOfFold(run, experiment, submission, index)


def read_overlap(context: Context) -> SharedFilms:
    """Read what prepare found that training has seen of the test set."""
    _, done = context.open_work(Stage.PREPARE, context.prepared.works["overlap"])
    return SharedFilms.read(fetch(context.store, done.outputs["overlap.json"], context.cache))


def scored_rows(index: pd.DataFrame, overlap: SharedFilms) -> pd.DataFrame:
    """Return the labelled films that training has not seen.

    Raises:
        BadInput: there are none.
    """
    rows = index[index["study_class"].notna() & ~index["image"].isin(overlap.left_out)]
    if rows.empty:
        raise BadInput(f"No labelled film is left to score: {overlap.sentence()}")
    return rows


def predictions_of(context: Context, fused: Done, rows: pd.DataFrame) -> Predictions:
    """Return an ensemble's predictions of some films."""
    submission = only(read(fetch(context.store, fused.outputs["submission.csv"], context.cache)), _ids(rows))
    films = fused.outputs.get("films.parquet")
    table = pd.read_parquet(fetch(context.store, films, context.cache)) if films else None
    return Predictions(submission, table)


def compare(
    context: Context,
    rows: pd.DataFrame,
    predictions: Predictions,
    earlier: OutOfFold,
    index: pd.DataFrame,
    overlap: SharedFilms,
) -> External:
    """Compare the scores of a test set with those out of fold.

    Args:
        context: evaluate's.
        rows: the scored films of the test set.
        predictions: of these films.
        earlier: the out-of-fold predictions.
        index: all films of the test set.
        overlap: what training has seen of them.
    """
    experiment = context.experiment
    resamples, seed = experiment.evaluation.bootstrap, experiment.seed
    figures = [name for name in available_figures(experiment) if name in available_figures(earlier.experiment)]
    own = pd.read_parquet(fetch(context.store, earlier.index.outputs["index.parquet"], context.cache))
    own = own[own["fold"].isin(earlier.submission.inputs["folds"])]
    sets = [EvaluationSet.from_index(films) for films in (rows, own)]
    after = match_figures(rows, sets[0], predictions, figures, resamples, seed)
    oof = predictions_of(context, earlier.submission, own)
    before = match_figures(own, sets[1], oof, figures, resamples, seed + APART)
    source = figure_of_classes(figures)
    return External(
        run=earlier.run,
        figures={name: _compared(after[name], before[name], FIGURES[name]) for name in figures},
        classes={name: _compared(after[source[name]], before[source[name]], (name,)) for name in source},
        shares={name: (_share(after[figure], name), _share(before[figure], name)) for name, figure in source.items()},
        reliability=reliabilities({name: before[figure] for name, figure in source.items()}),
        patients=int(sets[1].patient.max()) + 1,
        unlabelled=int(index.loc[index["study_class"].isna(), "study"].nunique()),
        overlap=overlap,
        temperature=_temperature(oof, sets[1]) if "map4" in figures else None,
    )


def _temperature(predictions: Predictions, evaluation_set: EvaluationSet) -> float | None:
    probability = study_probabilities(predictions.submission, evaluation_set)
    return None if probability is None else fit(probability, evaluation_set.truth.label[: len(probability)])


def _compared(after: MatchedPredictions, before: MatchedPredictions, classes: Sequence[str]) -> Compared:
    common = tuple(name for name in classes if after.ranked(name).truths.any() and before.ranked(name).truths.any())
    left_out = tuple(name for name in classes if name not in common)
    if not common:
        return Compared(float("nan"), None, float("nan"), None, None, left_out)
    samples = [matched.resampled(common) for matched in (before, after)]
    scores = [matched.score(common) for matched in (before, after)]
    intervals = [interval(sample) for sample in samples]
    difference = paired(scores[1] - scores[0], *samples) if all(intervals) else None
    return Compared(scores[1], intervals[1], scores[0], intervals[0], difference, left_out)


def _share(matched: MatchedPredictions, name: str) -> float:
    """Return the share of a class among the studies, or of none and opacity among the films."""
    kind = STUDY_CLASSES if name in STUDY_CLASSES else FILM_CLASSES
    have = {label: matched.ranked(label).truths > 0 for label in kind if label in matched.table.classes}
    return float(have[name].sum() / sum(units.sum() for units in have.values()))


def _ids(rows: pd.DataFrame) -> set[str]:
    return set(EvaluationSet.from_index(rows).ids)


def _json(compared: Compared) -> dict[str, Any]:
    gain = compared.difference
    return {
        "external": {"score": number(compared.external), "interval": bounds(compared.external_interval)},
        "out_of_fold": {"score": number(compared.out_of_fold), "interval": bounds(compared.out_of_fold_interval)},
        "difference": None
        if gain is None
        else {
            "value": number(gain.value),
            "interval": bounds(gain.interval),
            "p": gain.p,
            "beyond_noise": gain.beyond_noise,
        },
        "left_out": list(compared.left_out),
    }
