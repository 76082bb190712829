"""``python -m jobs compare``: test whether the scores of two runs differ by more than noise.

Both stored submissions are scored on the same films and the same resamples of patients; nothing is trained or
predicted.
"""

import json
import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Done, Reference
from jobs.contract.task import TaskId
from jobs.films.lineage.shared_films import OVERLAP, SharedFilms
from jobs.runtime.store import Missing, Store
from jobs.runtime.work import Work, fetch
from jobs.scoring.evaluation_set import EvaluationSet, film2_table
from jobs.scoring.figures import FIGURES, available_figures
from jobs.scoring.metric import Floats, Ints, MatchTable, average_precisions, mean_ap
from jobs.scoring.statistics.intervals import LEVEL, PairedDifference, bootstrap, mean_over_classes, paired
from jobs.scoring.submission import only, read

RESAMPLES: Final = 1000
SEED: Final = 1


@dataclass(frozen=True)
class ComparedRun:
    """A finished run with the records needed to score it again."""

    run: str
    experiment: Experiment
    ensemble: Done
    index: Done
    overlap: Done | None  # what training has seen of a labelled test set

    @property
    def dataset(self) -> str:
        """Hash of the dataset that the run predicted."""
        return str(self.ensemble.inputs["dataset"])


def compare_runs(runs: str, cache: Path | None, *, as_json: bool) -> None:
    """Compare two runs of the environment's store and print the difference.

    Args:
        runs: their names, ``FIRST,SECOND``.
        cache: a folder that keeps downloads; a temporary one if not given.
        as_json: print JSON instead of a sentence.

    Raises:
        BadInput: a run is unfinished, or the two have no dataset, fold or figure in common.
    """
    names = [name.strip() for name in runs.split(",")]
    if len(names) != 2 or not all(names):
        raise BadInput(f"--runs {runs}: name two runs, FIRST,SECOND.")
    with tempfile.TemporaryDirectory() as folder:
        result = compare(Store.from_environment(), names[0], names[1], cache or Path(folder))
    print(json.dumps(result, indent=1, allow_nan=False) if as_json else _sentence(result))


def compare(store: Store, first: str, second: str, cache: Path) -> dict[str, Any]:
    """Return the second run's difference from the first, in their widest common figure, on their common folds.

    Of two runs that predict the same labelled test set, the films that neither was trained on are compared.

    Args:
        store: the store of both runs.
        first: the baseline run.
        second: the run that is compared with it.
        cache: a folder for downloads.

    Raises:
        BadInput: a run is unfinished, or the two have no dataset, fold or figure in common.
    """
    pair = [_open(store, name) for name in (first, second)]
    figure, folds = common(*pair)
    index = pd.read_parquet(fetch(store, pair[0].index.outputs["index.parquet"], cache))
    index = _scored(index, folds, pair, store, cache)
    evaluation_set = EvaluationSet.from_index(index)
    tables = [_table(store, run, figure, index, evaluation_set, cache) for run in pair]
    patient = evaluation_set.patient[len(evaluation_set.studies) :] if figure == "film2" else evaluation_set.patient
    scores, difference = _difference(tables, patient, figure)
    return {
        "runs": [first, second],
        "figure": figure,
        "folds": folds,
        "patients": int(patient.max()) + 1,
        "scores": scores,
        "difference": difference.value,
        "interval": {**asdict(difference.interval), "over": "patients", "level": LEVEL, "resamples": RESAMPLES},
        "p": difference.p,
        "beyond_noise": difference.beyond_noise,
    }


def common(first: ComparedRun, second: ComparedRun) -> tuple[str, list[int]]:
    """Return the widest figure that both runs support and the folds that both have.

    Raises:
        BadInput: the runs have different datasets, or no figure or fold in common.
    """
    if first.dataset != second.dataset:
        raise BadInput(
            f"{first.run} and {second.run} are of different datasets ({first.dataset[:12]}, {second.dataset[:12]}): "
            "other films or another split, so their scores cannot be compared."
        )
    folds = sorted(set(first.ensemble.inputs["folds"]) & set(second.ensemble.inputs["folds"]))
    if not folds:
        raise BadInput(
            f"{first.run} and {second.run} have no fold in common: folds {first.ensemble.inputs['folds']} and "
            f"{second.ensemble.inputs['folds']}. Run one with --folds of the other."
        )
    both = [name for name in available_figures(first.experiment) if name in available_figures(second.experiment)]
    if not both:
        raise BadInput(f"{first.run} and {second.run} share no figure: their models predict different things.")
    return both[0], folds


def _open(store: Store, run: str) -> ComparedRun:
    try:
        experiment = store.get_record(layout.run_experiment(run), Experiment)
        ensemble, prepare = (
            store.get_record(layout.reference(run, TaskId(stage)), Reference).works
            for stage in (Stage.ENSEMBLE, Stage.PREPARE)
        )
        _, submission = Work.finished(store, Stage.ENSEMBLE, ensemble["submission"])
        _, index = Work.finished(store, Stage.PREPARE, prepare["index"])
    except Missing as error:
        raise BadInput(f"Run {run} has no submission in {store.url} to compare: finish it first.") from error
    if submission.inputs["dataset"] != index.outputs["index.parquet"].sha256:
        raise BadInput(f"Run {run} has prepared another dataset since its ensemble: resume it first.")
    overlap = Work.finished(store, Stage.PREPARE, prepare["overlap"])[1] if "overlap" in prepare else None
    return ComparedRun(run, experiment, submission, index, overlap)


def _scored(index: pd.DataFrame, folds: list[int], pair: list[ComparedRun], store: Store, cache: Path) -> pd.DataFrame:
    """Return the films that both runs are scored on: their common folds', or of a test set those with labels.

    Raises:
        BadInput: the test set has none that neither run was trained on.
    """
    if (index["fold"] >= 0).any():
        return index[index["fold"].isin(folds)]
    seen = [SharedFilms.read(fetch(store, run.overlap.outputs[OVERLAP], cache)) for run in pair if run.overlap]
    left_out = {image for one in seen for image in one.left_out}
    scored = index[index["study_class"].notna() & ~index["image"].isin(left_out)]
    if scored.empty:
        names = " and ".join(run.run for run in pair)
        raise BadInput(f"{names} predict films without labels, or that training has seen: there is nothing to compare.")
    return scored


def _table(
    store: Store, run: ComparedRun, figure: str, index: pd.DataFrame, evaluation_set: EvaluationSet, cache: Path
) -> MatchTable:
    """Return the matches that a run's figure is computed from, on the films of ``index`` only."""
    if figure == "film2":
        table = pd.read_parquet(fetch(store, run.ensemble.outputs["films.parquet"], cache))
        films = table.set_index("image").loc[list(evaluation_set.films)]
        boxes = index.set_index("image")["boxes"].loc[list(evaluation_set.films)]
        has_box = np.array([len(of_film) > 0 for of_film in boxes])
        return film2_table(has_box, films["none"].to_numpy(), films["opacity"].to_numpy())
    submission = read(fetch(store, run.ensemble.outputs["submission.csv"], cache))
    return evaluation_set.match(only(submission, set(evaluation_set.ids)), run.run)


def _difference(tables: list[MatchTable], patient: Ints, figure: str) -> tuple[list[float], PairedDifference]:
    classes = FIGURES[figure]
    scores = [mean_ap(average_precisions(table), classes) for table in tables]

    def resampled(table: MatchTable) -> Floats:
        columns = [table.classes.index(name) for name in classes]
        return mean_over_classes(bootstrap(table, patient, RESAMPLES, SEED)[:, columns])

    if not all(map(math.isfinite, scores)):
        raise BadInput(f"There is no ground truth for {figure} on the folds that both runs have.")
    return scores, paired(scores[1] - scores[0], resampled(tables[0]), resampled(tables[1]))


def _sentence(result: dict[str, Any]) -> str:
    first, second = result["runs"]
    before, after = result["scores"]
    around, verdict = result["interval"], "more than noise" if result["beyond_noise"] else "within noise"
    return (
        f"{second} against {first}: {result['figure']} {before:.4f} to {after:.4f}, {result['difference']:+.4f} (95 % "
        f"{around['low']:+.4f} to {around['high']:+.4f} over {result['patients']} patients, p {result['p']:.3f}): "
        f"{verdict}"
    )
