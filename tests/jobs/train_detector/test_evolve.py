import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.contract.experiment import Detector, DetectorInference, Evolve, Experiment
from jobs.train_detector.evolve import SPACE, Trial, best_trial, candidate, gene_values, recipe
from workflows.settings.files import load_experiment

START = Detector(model="yolov8n", batch=8, lr=0.01, mosaic=0.3, inference=DetectorInference(iou=0.5))
THEIR_NAMES = {
    "lr": "lr0", "final_lr": "lrf", "warmup": "warmup_epochs", "brightness": "hsv_v", "flip": "fliplr",
}  # fmt: skip


def search(trials: int, score, seed: int = 1) -> list[Trial]:
    history: list[Trial] = []
    for _ in range(trials):
        detector = candidate(START, history, seed)
        history.append(Trial(detector, score(detector)))
    return history


def preference(detector: Detector) -> float:
    """Highest, 1, at a mosaic of .8, a rate of .004 and no rotation."""
    distance = (
        abs(detector.mosaic - 0.8) + abs(detector.lr - 0.004) * 100 + detector.degrees / 45 + abs(detector.flip - 0.5)
    )
    return 1 - distance / 4


def their_tuner(folder: Path) -> Any:
    """ultralytics' own, without a model."""
    importlib.import_module("jobs.nets.yolo")  # settles ultralytics before its first import
    from ultralytics.engine.tuner import Tuner

    return Tuner({"project": str(folder), "name": "tune"}, model=object())


def test_genes_are_those_of_ultralytics_with_its_bounds_gains_and_whole_numbers(tmp_path: Path):
    theirs = their_tuner(tmp_path).space
    from ultralytics.cfg import CFG_INT_KEYS

    for gene in SPACE:
        name = THEIR_NAMES.get(gene.field, gene.field)
        assert theirs[name] == ((gene.low, gene.high, gene.gain) if gene.gain != 1 else (gene.low, gene.high))
        assert gene.whole == (name in CFG_INT_KEYS)
    fields = {name for name in theirs if name in Detector.model_fields}
    assert fields | set(THEIR_NAMES) == {gene.field for gene in SPACE} | set(THEIR_NAMES)


@pytest.mark.parametrize("trials", [1, 5, 29, 30, 60])
def test_a_candidate_is_the_one_ultralytics_would_try(trials: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    history = search(trials, preference)
    tuner = their_tuner(tmp_path)
    names = {gene.field: THEIR_NAMES.get(gene.field, gene.field) for gene in SPACE}
    tuner.space = {name: tuner.space[name] for name in names.values()}
    records = [
        {"fitness": trial.score, "hyperparameters": {names[f]: v for f, v in gene_values(trial.detector).items()}}
        for trial in history
    ]
    monkeypatch.setattr(tuner, "_load_local_results", lambda: records)
    ours = candidate(START, history, seed=7)
    given_generator = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda: given_generator([7, trials]))
    assert tuner._mutate() == {names[field]: value for field, value in gene_values(ours).items()}


def test_the_first_candidate_is_the_start_as_it_is_also_beyond_the_bounds():
    beyond = START.model_copy(update={"lr": 0.5})
    assert candidate(beyond, [], seed=1) is beyond
    assert candidate(beyond, [Trial(beyond, 0.5)], seed=1).lr <= 0.01


@given(st.integers(0, 10**6), st.integers(1, 35))
@hypothesis_settings(max_examples=12, deadline=None)
def test_candidates_are_new_valid_and_change_nothing_but_genes(seed: int, trials: int):
    history = search(trials, preference, seed)
    assert len({trial.detector.model_dump_json() for trial in history}) == trials
    genes = {gene.field for gene in SPACE}
    for trial in history:
        for gene in SPACE:
            assert gene.low <= getattr(trial.detector, gene.field) <= gene.high
        assert trial.detector.model_dump(exclude=genes) == START.model_dump(exclude=genes)
        assert Detector.model_validate(trial.detector.model_dump()) == trial.detector


def test_the_same_history_gives_the_same_candidate_so_a_search_can_be_resumed():
    history = search(12, preference)
    again = [Trial(trial.detector.model_copy(), trial.score) for trial in history]
    assert candidate(START, history, seed=1) == candidate(START, again, seed=1)
    assert candidate(START, history, seed=1) != candidate(START, history, seed=2)


def test_a_search_finds_better_than_chance_does():
    rng = np.random.default_rng(0)
    evolved, drawn = [], []
    for seed in range(3):
        evolved.append(best_trial(search(60, preference, seed)).score)
        chance = [{g.field: rng.uniform(g.low, g.high) for g in SPACE if not g.whole} for _ in range(60)]
        drawn.append(max(preference(START.model_copy(update=genes)) for genes in chance))
    assert min(evolved) > preference(START)
    assert np.mean(evolved) > np.mean(drawn)


def test_the_best_of_equals_is_the_first():
    trials = [Trial(START, 0.4), Trial(START.model_copy(update={"lr": 0.002}), 0.4)]
    assert best_trial(trials) is trials[0]


def test_the_outcome_is_a_whole_recipe_that_searches_no_more(tmp_path: Path):
    searched = START.model_copy(update={"evolve": Evolve(epochs=600)})
    experiment = Experiment(
        name="a-name-that-is-as-long-as-a-name-may-be1", folds={"run": (2,)}, inferred={"seed": "it must be something"},
        classifiers={"b3": {"aux": None}}, detectors={"yolo-m": searched, "yolo-x": searched},
    )  # fmt: skip
    found = Trial(START.model_copy(update={"lr": 0.0042, "mixup": 0.25}), 0.4251)
    file = tmp_path / "evolved.yaml"
    file.write_text(recipe(experiment, "yolo-m", 2, [Trial(START, 0.4), found]))
    assert "evolve" not in yaml.safe_load(file.read_text())["detectors"]["yolo-m"]
    loaded = load_experiment(file)
    assert loaded.name.endswith("-evolved")
    assert loaded.detectors["yolo-m"] == found.detector
    kept = {"name", "title", "remark", "inferred", "detectors"}
    assert loaded.model_dump(exclude=kept) == experiment.model_dump(exclude=kept)
    assert loaded.detectors["yolo-x"] == searched
    assert "0.4251 on fold 2, against 0.4000 at the start" in loaded.remark
