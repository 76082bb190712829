import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.contract.experiment import Detector, Experiment
from jobs.train_detector import evolve
from jobs.train_detector.evolve import SPACE, Trial, best, candidate, recipe

# Read, not imported: importing ultralytics takes seconds.
TUNER = Path(find_spec("ultralytics").origin).parent / "engine" / "tuner.py"

START = Detector(model="yolov8n", batch=8, lr=0.01, mosaic=0.3)


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


def test_the_first_candidate_is_where_the_search_starts():
    assert candidate(START, [], seed=1) == START


def test_a_start_beyond_the_bounds_is_brought_within():
    assert candidate(START.model_copy(update={"lr": 0.5}), [], seed=1).lr == 0.01


@given(st.integers(0, 10**6), st.integers(1, 35))
@settings(max_examples=12, deadline=None)
def test_candidates_are_new_valid_and_change_nothing_but_genes(seed: int, trials: int):
    history = search(trials, preference, seed)
    assert len({trial.detector.model_dump_json() for trial in history}) == trials
    genes = {gene.field for gene in SPACE}
    for trial in history:
        for gene in SPACE:
            assert gene.low <= getattr(trial.detector, gene.field) <= gene.high
        assert trial.detector.model_dump(exclude=genes) == START.model_dump(exclude=genes)


def test_the_same_history_gives_the_same_candidate_so_a_search_can_be_resumed():
    history = search(12, preference)
    again = [Trial(trial.detector.model_copy(), trial.score) for trial in history]
    assert candidate(START, history, seed=1) == candidate(START, again, seed=1)
    assert candidate(START, history, seed=1) != candidate(START, history, seed=2)


def test_a_search_finds_better_than_chance_does():
    rng = np.random.default_rng(0)
    evolved, drawn = [], []
    for seed in range(3):
        evolved.append(best(search(60, preference, seed)).score)
        chance = [{g.field: rng.uniform(g.low, g.high) for g in SPACE if not g.whole} for _ in range(60)]
        drawn.append(max(preference(START.model_copy(update=genes)) for genes in chance))
    assert min(evolved) > preference(START)
    assert np.mean(evolved) > np.mean(drawn)


def test_the_best_of_equals_is_the_first():
    trials = [Trial(START, 0.4), Trial(START.model_copy(update={"lr": 0.002}), 0.4)]
    assert best(trials) is trials[0]


def test_a_space_with_nothing_left_to_try_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evolve, "SPACE", (evolve.Gene("close_mosaic", 0, 1, whole=True),))
    history = [Trial(START.model_copy(update={"close_mosaic": value}), 0.1) for value in (0, 1)]
    with pytest.raises(evolve.BadInput, match="after 2 trials no mutation is left"):
        candidate(START, history, seed=1)


def test_the_outcome_is_a_recipe_with_what_changed():
    found = Trial(START.model_copy(update={"lr": 0.0042, "mixup": 0.25}), 0.4251)
    document = yaml.safe_load(recipe("yolo-06", "yolo-m", START, found, trials=30))
    assert document["extends"] == "yolo-06"
    assert document["detectors"] == {"yolo-m": {"lr": 0.0042, "mixup": 0.25}}
    parent = Experiment(name="yolo-06", detectors={"yolo-m": START}).model_dump()
    parent["detectors"]["yolo-m"].update(document["detectors"]["yolo-m"])
    assert Experiment.model_validate(parent).detectors["yolo-m"] == found.detector


@pytest.mark.parametrize("gene", SPACE, ids=lambda gene: gene.field)
def test_bounds_and_gain_of_a_gene_are_those_of_ultralytics(gene: evolve.Gene):
    theirs = {
        "lr": "lr0", "final_lr": "lrf", "warmup": "warmup_epochs", "brightness": "hsv_v", "flip": "fliplr",
    }.get(gene.field, gene.field)  # fmt: skip
    match = re.search(rf'"{theirs}": \(([^)]*)\)', TUNER.read_text().partition('pop("space"')[2])
    assert match
    assert [float(part) for part in match[1].split(",")] == [gene.low, gene.high, *([gene.gain] * (gene.gain != 1))]
