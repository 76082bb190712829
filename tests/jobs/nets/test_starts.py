"""The weights of a run as the start of another: which are found, and which are refused for what they have seen."""

from pathlib import Path

import numpy as np
import pytest

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Classifier, Experiment, Folds
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Done, TrainedFold
from jobs.contract.task import TaskId
from jobs.films.lineage.crossing import Crossings, IndexedFilms
from jobs.nets.starts import check_starts, start_of
from jobs.nets.training import Training
from jobs.nets.weights.trained_folds import find_start
from jobs.prepare.seen import training_indexes
from jobs.runtime.context import Context
from jobs.runtime.store import Store
from jobs.tools.promote import promote, remove
from tests.jobs.attempts import context_of
from tests.jobs.films.lineage_films import COST, films, store_films

TINY = Classifier(backbone="test_efficientnet", size=64)
TRAINING = Stage.TRAIN_CLASSIFIER


class Lab:
    """A store with runs whose films are prepared and whose trainings are done."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder, self.trained = store, folder, list[Training]()

    def context(self, run: str, fold: int | None = None, model: Classifier = TINY) -> Context:
        experiment = Experiment(name="tiny", folds=Folds(count=2), classifiers={"net": model})
        task = TaskId(Stage.PREPARE) if fold is None else TaskId(TRAINING, "net", fold)
        return context_of(self.store, task, experiment, self.folder / run / str(fold), run)

    def prepare(self, run: str, given: IndexedFilms, model: Classifier = TINY) -> str:
        context = self.context(run, model=model)
        self.store.put_json(layout.run_experiment(run), context.experiment.model_dump(mode="json"))
        index = store_films(self.store, given, self.folder / run)
        context.refer({"index": index}, {})
        return index

    def finish(self, training: Training) -> Done:
        """Pretend to train."""
        self.trained.append(training)
        work = self.context("any", training.fold).work("weights", training.inputs(1))
        weights = self.folder / "best.safetensors"
        weights.write_text(work.digest)
        return work.finish({weights.name: weights}, {}, COST)

    def train(self, run: str, model: Classifier = TINY) -> None:
        for fold in range(2):
            context = self.context(run, fold, model)
            done = self.finish(Training.of(context, start_of(context, self.finish)))
            context.refer({"weights": done.digest}, {})

    def run(self, run: str, given: IndexedFilms, **model: object) -> None:
        changed = TINY.model_copy(update=model)
        index = self.prepare(run, given, changed)
        context = self.context(run, model=changed)
        check_starts(context, Crossings(context, index))
        self.train(run, changed)


@pytest.fixture
def lab(s3_store: Store, tmp_path: Path) -> Lab:
    made = Lab(s3_store, tmp_path)
    made.run("wide", films("wide"))
    return made


def other_split(given: IndexedFilms) -> IndexedFilms:
    return IndexedFilms(given.rows.assign(fold=(given.rows.index // 2) % 2), given.tags, given.thumbnails)


def test_the_same_split_passes_and_each_fold_starts_from_its_own(lab: Lab):
    lab.run("again", films("wide"), weights="run:wide/net")
    starts = [training.start for training in lab.trained[2:]]
    assert starts == [find_start(lab.store, "run:wide/net", fold) for fold in range(2)]
    inputs = [lab.trained[2 + fold].inputs(1) for fold in range(2)]
    assert [one["start"]["weights"] for one in inputs] == [start.weights for start in starts if start]
    assert "weights" not in inputs[0]["training"], "what they are counts, not what they are called"


def test_other_films_pass_and_another_split_is_refused_before_any_training(lab: Lab):
    lab.run("narrow", films("narrow"), weights="run:wide/net")
    with pytest.raises(BadInput, match=r"run:wide/net fold 0 has trained on 2 films that fold 0 validates on.*drop"):
        lab.run("split", other_split(films("wide")), weights="run:wide/net")
    assert len(lab.trained) == 4


@pytest.mark.parametrize("leak", ["patient", "near-duplicate"])
def test_one_planted_film_is_refused(lab: Lab, leak: str):
    given = films("narrow")
    if leak == "patient":
        given.rows.loc[2, "patient"] = "wide-patient1"  # fold 0 here, trained on by fold 0 there
    else:
        given.thumbnails[2] = np.clip(films("wide").thumbnails[1].astype(int) + 2, 0, 255)
    with pytest.raises(BadInput, match=r"fold 0 has trained on 1 films .*\(wide1 is .* narrow2\)"):
        lab.run("narrow", given, weights="run:wide/net")


@pytest.mark.slow
def test_a_leak_is_followed_through_a_start_of_a_start(lab: Lab):
    lab.run("middle", films("middle"), weights="run:wide/net")
    with pytest.raises(BadInput, match=r"run:middle/net fold 0 through its start has trained on"):
        lab.run("last", other_split(films("wide")), weights="run:middle/net")


@pytest.mark.slow
def test_dropped_films_are_left_out_of_every_training_behind_the_start(lab: Lab):
    lab.run("middle", films("middle"), weights="run:wide/net")
    before = len(lab.trained)
    lab.run("last", other_split(films("wide")), weights="run:middle/net", overlap="drop")
    wide, middle, last = lab.trained[before : before + 3]
    validated = {f"wide{number}" for number in (0, 1, 4, 5)}  # by fold 0 of the last run
    assert set(wide.without) == validated & {f"wide{number}" for number in (1, 3, 5, 7)}
    assert middle.without == ()
    assert middle.start != find_start(lab.store, "run:wide/net", 0)
    assert last.start != find_start(lab.store, "run:middle/net", 0)


@pytest.mark.slow
def test_the_films_behind_a_run_are_those_of_its_starts_too(lab: Lab):
    lab.run("middle", films("middle"), weights="run:wide/net")
    predicting = lab.context("tested", model=TINY.model_copy(update={"weights": "run:wide/net"}))
    own, start = (lab.context(run).reference(run, TaskId(Stage.PREPARE)).works["index"] for run in ("middle", "wide"))
    assert training_indexes(predicting, "middle") == [own, start]


def test_training_again_with_every_film_is_the_same_work(lab: Lab):
    trained = find_start(lab.store, "run:wide/net", 1)
    assert trained is not None
    done = lab.context("wide", 1).open_work(TRAINING, trained.weights)[1]
    again = Training.again(lab.store, trained, done, None, {})
    assert lab.context("wide", 1).work("weights", again.inputs(1)).digest == trained.weights


@pytest.mark.slow
def test_a_promoted_name_is_the_same_start_and_one_fold_may_start_all(lab: Lab):
    promote("wide", "net", "lungs", None)
    assert [find_start(lab.store, "lungs", fold) for fold in range(2)] == [
        find_start(lab.store, "run:wide/net", fold) for fold in range(2)
    ]
    promote("wide", "net", "lungs", 1)
    assert find_start(lab.store, "lungs", 0) == find_start(lab.store, "run:wide/net", 1)
    with pytest.raises(BadInput, match="lungs fold 0 has trained on 4 films that fold 0 validates on"):
        lab.run("same", films("wide"), weights="lungs")
    remove("lungs")
    with pytest.raises(BadInput, match="has no promoted weights lungs"):
        remove("lungs")


def test_a_start_that_changed_since_prepare_is_not_trained_from(lab: Lab):
    model = TINY.model_copy(update={"weights": "run:wide/net"})
    lab.prepare("narrow", films("narrow"), model)
    with pytest.raises(BadInput, match="has not compared its films"):
        lab.train("narrow", model)


def test_what_is_not_there_is_told(lab: Lab):
    with pytest.raises(BadInput, match="no run wild"):
        find_start(lab.store, "run:wild/net", 0)
    with pytest.raises(BadInput, match="no model b3; it has net"):
        find_start(lab.store, "run:wide/b3", 0)
    with pytest.raises(BadInput, match="no weights of net fold 4"):
        find_start(lab.store, "run:wide/net", 4)
    trained = TrainedFold(stage=TRAINING, weights="0" * 64, index="0" * 64)
    done = lab.context("wide", 0).open_work(TRAINING, lab.context("wide", 0).upstream(TaskId(TRAINING, "net", 0)).works[
        "weights"
    ])[1]  # fmt: skip
    lost = done.model_copy(update={"inputs": {**done.inputs, "pretrained": "f" * 64}})
    with pytest.raises(BadInput, match="have been replaced since"):
        Training.again(lab.store, trained, lost, None, {})
