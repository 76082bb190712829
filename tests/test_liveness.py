"""For every field of the experiment, a check that changing it changes the result.

The fields are found by walking the schema, so a new one without a check fails. A classifier's and a detector's own
fields have their checks in `tests/jobs/nets`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel
from pydicom.uid import JPEG2000Lossless

from jobs.contract.exits import BadInput
from jobs.contract.experiment import (
    Classifier,
    Data,
    Detector,
    Ensemble,
    Experiment,
    ExtraFilms,
    Folds,
    Fusion,
    NoneRule,
    PseudoLabels,
)
from jobs.contract.names import STUDY_COLUMNS, Stage
from jobs.contract.needs.split import FrozenSplit
from jobs.contract.needs.teachers import check_stored
from jobs.contract.plan import plan
from jobs.contract.task import TaskId
from jobs.ensemble.members import choose_folds
from jobs.ensemble.search import search
from jobs.evaluate import gallery
from jobs.evaluate.results import Predictions, score_predictions
from jobs.films.dicom.decoding import DecodeRequest, decode
from jobs.films.loader import Films
from jobs.films.phantom.dicom_writer import Identity, Quirks, write_dicom
from jobs.films.splitting.duplicates import near_duplicates
from jobs.films.splitting.folds import assign_folds
from jobs.films.splitting.frozen import keep_folds
from jobs.prepare.sources import FolderSource, open_source
from jobs.prepare.tables import tables_of
from jobs.scoring.combine import Combined, Voter, combine
from jobs.scoring.submission import parse, render
from tests.jobs.ensemble.world import boxes_table, films_table, index

FILMS = index(patients=30)
# What a person reads; nothing is computed from it.
WORDS = {"name", "title", "remark", "inferred"}
# Checked with a stage of its own: tests/jobs/runtime/test_trackers.py, "a resumed training leaves a whole curve".
ELSEWHERE = {"tracker"}

Check = Callable[[Path], None]


def experiment(**fields: object) -> Experiment:
    return Experiment(
        **{"name": "tiny", "classifiers": {"b3": Classifier()}, "detectors": {"yolo": Detector()}, **fields}
    )


def combined(settings: Ensemble) -> Combined:
    film2 = films_table(FILMS, 0.5, 3)[["image", "study"]].assign(none=0.9, opacity=0.1)
    one, other = boxes_table(FILMS, 0.9, 1), boxes_table(FILMS, 0.4, 2)
    return combine(
        FILMS,
        [
            Voter("b3", settings.weights.get("b3", 1.0), films_table(FILMS, 0.8, 1)),
            Voter("v2", settings.weights.get("v2", 1.0), films_table(FILMS, 0.2, 2)),
            Voter("film2", settings.weights.get("film2", 1.0), film2),
        ],
        [Voter("yolo", 1.0, one), Voter("other", 1.0, other)],
        settings,
    )


def in_the_submission(**change: object) -> Check:
    def check(folder: Path) -> None:
        base = Ensemble()
        other = base.model_copy(update=change)
        assert render(combined(base).submission) != render(combined(other).submission)

    return check


def in_the_fusion(**change: object) -> Check:
    return in_the_submission(fusion=Fusion().model_copy(update=change))


def in_none(source: str) -> Check:
    return in_the_submission(none=NoneRule().model_copy(update={source: 3.0}))


def source(folder: Path) -> None:
    one, other = (
        open_source(f"phantom:patients=2,seed={seed},size=96", folder, folder, test=False).films(test=False)
        for seed in (1, 2)
    )
    assert [film.image for film in one] != [film.image for film in other]


def siblings(folder: Path) -> None:
    films = FILMS.assign(study="one", boxes=[[[0.0, 0.0, 9.0, 9.0]]] + [[] for _ in FILMS.index[1:]])
    chosen = np.ones(len(films), bool)
    kept, dropped, masked = (Films.of(films, chosen, 64, policy) for policy in ("keep", "drop", "mask"))
    assert (len(kept), len(dropped), len(masked)) == (len(films), 1, len(films))
    assert kept.counted.all()
    assert masked.counted.sum() == 1


def table_of(setting: str) -> Check:
    def check(folder: Path) -> None:
        for name in ("train_study_level.csv", "train_image_level.csv", "extra.csv"):
            (folder / name).write_text(LABELS.get(name, "study,patient,fold\ns,p,0\n"))
        found = tables_of(FolderSource(folder), Data(**{setting: "extra.csv"}), test=False)
        absent = tables_of(FolderSource(folder), Data(), test=False)
        assert getattr(found, setting) == folder / "extra.csv"
        assert getattr(absent, setting) is None

    return check


LABELS = {
    "train_study_level.csv": f"id,{','.join(STUDY_COLUMNS)}\ns_study,1,0,0,0\n",
    "train_image_level.csv": "id,boxes,label,StudyInstanceUID\ni_image,,none 1 0 0 1 1,s\n",
}


def duplicates(folder: Path) -> None:
    film = np.random.default_rng(1).integers(0, 255, (64, 64))
    other = np.clip(film + np.random.default_rng(2).normal(0, 6, film.shape), 0, 255)
    smooth = [np.kron(one.reshape(8, 8, 8, 8).mean((1, 3)), np.ones((8, 8))) for one in (film, other)]
    thumbnails = np.array(smooth, np.uint8)
    assert len(near_duplicates(thumbnails, 0.9)) == 1
    assert not near_duplicates(thumbnails, 1.0)


def extra_films(folder: Path) -> None:
    """A teacher's films are tasks; tests/jobs/train_classifier/test_rounds.py checks that they are trained on."""
    labels = PseudoLabels(run="teacher")
    extra = (ExtraFilms(source="s3://films/one"), ExtraFilms(source="s3://films/other", labels=labels))
    tasks = plan(experiment(data=Data(extra=extra)))
    assert [task.id.name for task in tasks if task.id.stage is Stage.PREDICT] == [f"extra-1-fold-{k}" for k in range(5)]


def halve_from(folder: Path) -> None:
    path, quirks = folder / "film.dcm", Quirks(JPEG2000Lossless, voi="window")
    write_dicom(path, np.tile(np.linspace(0, 1, 400), (300, 1)), Identity("p", "s", "e", "i"), quirks)
    pixels = [decode(DecodeRequest(path, "film", (), wanted)).facts.pixels_sha256 for wanted in (None, 401, 400)]
    assert pixels[0] == pixels[1] != pixels[2]


def fold_count(folder: Path) -> None:
    assert assign_folds(FILMS, 3, 1) != assign_folds(FILMS, 5, 1)


def folds_run(folder: Path) -> None:
    some, every = plan(experiment(folds=Folds(run=(0,)))), plan(experiment())
    assert len(some) == 5
    assert len(every) == 13


def folds_seed(folder: Path) -> None:
    assert assign_folds(FILMS, 5, 1) != assign_folds(FILMS, 5, 2)


def folds_frozen(folder: Path) -> None:
    kept = FrozenSplit(count=5, patients={FILMS["patient"][0]: 4, FILMS["patient"].iloc[-1]: 3}, studies={})
    dealt = keep_folds(FILMS, kept, 1)
    assert (dealt[0], dealt[-1]) == (4, 3)
    assert dealt != assign_folds(FILMS, 5, 1)
    with pytest.raises(BadInput, match="has no split hospital"):
        check_stored(experiment(folds=Folds(frozen="hospital")), {}.get, "s3://films")


def seed(folder: Path) -> None:
    """Of the resamples; that each training follows it is checked in tests/jobs/nets."""
    said = Predictions(parse(render(combined(Ensemble()).submission), "it"), None)
    one, other = (score_predictions(FILMS, said, said, ("map6",), 20, seed).figures["map6"] for seed in (1, 2))
    assert one.score == other.score
    assert one.interval != other.interval


def min_folds(folder: Path) -> None:
    lost = [TaskId(Stage.TRAIN_CLASSIFIER, "b3", 2)]
    assert choose_folds(experiment(ensemble=Ensemble(min_folds=4)), lost, lost) == (0, 1, 3, 4)
    with pytest.raises(BadInput, match="Resume the run"):
        choose_folds(experiment(), lost, lost)


def ensemble_search(folder: Path) -> None:
    """A search changes the settings; what it does is checked in tests/jobs/ensemble/test_search.py."""
    skilled = [Voter("b3", 1.0, films_table(FILMS, 2.0, 1)), Voter("v2", 1.0, films_table(FILMS, 0.0, 2))]
    greedy = Ensemble(search="greedy")
    assert search(FILMS, skilled, [], greedy, 1).settings.weights != greedy.weights


def bootstrap(folder: Path) -> None:
    said = Predictions(parse(render(combined(Ensemble()).submission), "it"), combined(Ensemble()).films)
    with_interval, without = (score_predictions(FILMS, said, said, ("map6",), resamples, 1) for resamples in (20, 0))
    assert with_interval.figures["map6"].interval is not None
    assert without.figures["map6"].interval is None


def films_in_the_gallery(folder: Path) -> None:
    submission = parse(render(combined(Ensemble()).submission), "it")
    said = Predictions(submission, None)
    shown = gallery.gallery_films(FILMS, submission, score_predictions(FILMS, said, said, ("map6",), 0, 1))
    assert [len(gallery.choose(shown, count, 1)["best"]) for count in (0, 3)] == [0, 3]


LIVENESS: dict[str, Check] = {
    "seed": seed,
    "data.source": source,
    "data.siblings": siblings,
    "data.patients": table_of("patients"),
    "data.split": table_of("split"),
    "data.duplicates": duplicates,
    "data.extra": extra_films,
    "data.halve_from": halve_from,
    "folds.count": fold_count,
    "folds.seed": folds_seed,
    "folds.run": folds_run,
    "folds.frozen": folds_frozen,
    "ensemble.weights": in_the_submission(weights={"b3": 5.0}),
    "ensemble.fusion.iou": in_the_fusion(iou=0.05),
    "ensemble.fusion.floor": in_the_fusion(floor=0.5),
    "ensemble.fusion.repeat": in_the_fusion(repeat=2),
    "ensemble.none.boxes": in_none("boxes"),
    "ensemble.none.negative": in_none("negative"),
    "ensemble.none.film2": in_none("film2"),
    "ensemble.labels": in_the_submission(labels="top"),
    "ensemble.temperature": in_the_submission(temperature=2.0),
    "ensemble.min_folds": min_folds,
    "ensemble.search": ensemble_search,
    "evaluation.bootstrap": bootstrap,
    "evaluation.gallery": films_in_the_gallery,
}


def leaves(model: type[BaseModel], place: str = "") -> set[str]:
    """Dotted names of a model's fields; models by name (classifiers, detectors) are left to their own tests."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= leaves(field.annotation, f"{place}{name}.")
        else:
            found.add(f"{place}{name}")
    return found


def test_every_field_of_an_experiment_has_its_check():
    assert leaves(Experiment) - {"classifiers", "detectors"} == set(LIVENESS) | WORDS | ELSEWHERE


SLOW = {"seed", "folds.count", "ensemble.search"}  # a training, a dataset, a search


@pytest.mark.parametrize(
    "field", [pytest.param(field, marks=pytest.mark.slow if field in SLOW else ()) for field in LIVENESS]
)
def test_a_change_of_the_field_changes_what_is_computed(field: str, tmp_path: Path):
    LIVENESS[field](tmp_path)
