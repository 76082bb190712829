import json
import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import jobs.train_detector
from jobs.contract.exits import BadInput
from jobs.contract.experiment import Data
from jobs.contract.stored.records import Done
from jobs.films.loader import unboxed_siblings
from jobs.films.prepared import fetch_dataset
from jobs.nets.weights import pretrained as weights
from jobs.nets.yolo.model import architecture, initial
from jobs.runtime.context import Context
from jobs.runtime.work import fetch
from jobs.train_detector.fold import DetectorFold
from tests.jobs.attempts import works_of
from tests.jobs.nets.yolo.films import TINY, write_films
from tests.jobs.train_detector.conftest import NewContext

pytestmark = pytest.mark.slow

QUICK = TINY.model_copy(update={"epochs": 1})


def done(context: Context, kind: str) -> Done:
    return works_of(context)[kind]


def output(context: Context, kind: str, name: str) -> Path:
    return fetch(context.store, done(context, kind).outputs[name], context.cache)


def test_a_fold_is_trained_and_predicted(attempt: NewContext):
    context = attempt()
    scores = jobs.train_detector.run(context)
    trained, oof = done(context, "weights"), done(context, "oof")
    assert set(trained.outputs) == {"best.safetensors", "last.safetensors", "curve.json"}
    assert set(oof.outputs) == {"boxes.parquet", "untrained-boxes.parquet"}
    assert scores == {"opacity": oof.scores["opacity"], "best": trained.scores["best"], "last": trained.scores["last"]}
    assert context.upstream(context.task).scores == scores
    curve = json.loads(output(context, "weights", "curve.json").read_text())["epochs"]
    assert max(row["val_score"] for row in curve) == trained.scores["best"]
    assert curve[int(trained.scores["best_epoch"])]["val_score"] == trained.scores["best"]
    assert all(t.dtype != torch.float16 for t in load_file(output(context, "weights", "best.safetensors")).values())
    assert list(context.store.list(f"{context.work('weights', trained.inputs).prefix}/checkpoints/")) == []


@pytest.mark.parametrize("siblings", ["drop", "mask"])
def test_a_film_whose_sibling_has_the_boxes_is_kept_from_training(siblings: str, attempt: NewContext):
    def fold(policy: str) -> DetectorFold:
        context = attempt()
        context.experiment = context.experiment.model_copy(update={"data": Data(siblings=policy)})
        return DetectorFold.of(context)

    every, some = fold("keep"), fold(siblings)
    index = fetch_dataset(every.context, ()).index
    orphans = set(index["image"][unboxed_siblings(index) & (index["fold"] != 0)])
    assert orphans
    assert set(every.training_films().index["image"]) - set(some.training_films().index["image"]) == orphans
    assert len(some.held_out_films(64)) == len(every.held_out_films(64)), "all are scored"
    assert some.weights_inputs() != every.weights_inputs()


def test_boxes_are_of_the_folds_films_in_order(attempt: NewContext, tmp_path: Path):
    context = attempt(QUICK)
    jobs.train_detector.run(context)
    index = write_films_index(tmp_path)
    for name in ("boxes.parquet", "untrained-boxes.parquet"):
        boxes = pd.read_parquet(output(context, "oof", name))
        assert set(boxes["fold"]) == {0}
        assert set(boxes["image"]) <= set(index.loc[index["fold"] == 0, "image"])
        ordered = boxes.sort_values(["image", "confidence"], ascending=[True, False], kind="stable")
        assert boxes.equals(ordered)
    assert done(context, "oof").inputs["dataset"] == done(context, "weights").inputs["dataset"]


def write_films_index(tmp_path: Path) -> pd.DataFrame:
    (tmp_path / "again").mkdir()
    return write_films(tmp_path / "again").index


def test_another_inference_trains_nothing_anew_and_says_what_it_is_worth(attempt: NewContext):
    jobs.train_detector.run(attempt(QUICK))
    first = done(attempt(), "weights")
    context = attempt(QUICK, size=96, tta=True, select="last")
    jobs.train_detector.run(context)
    assert done(context, "weights") == first
    scores = done(context, "oof").scores
    assert set(scores) == {"opacity", "untrained", "opacity_at_training_size", "opacity_without_tta"}
    assert all(math.isfinite(score) for score in scores.values())


def test_a_done_task_answers_at_once_and_without_pytorch(attempt: NewContext, s3_environment: dict[str, str]):
    context = attempt(QUICK)
    jobs.train_detector.run(context)
    experiment = context.experiment.model_dump_json()
    code = (
        "import sys, jobs.runtime.stage as s; from jobs.contract.task import TaskId;"
        "end = s.run_stage(TaskId(s.Stage.TRAIN_DETECTOR, 'yolo', 0));"
        "assert 'torch' not in sys.modules and 'ultralytics' not in sys.modules; sys.exit(end)"
    )
    environment = {**s3_environment, "CXRFOLD_RUN": context.run, "CXRFOLD_EXPERIMENT": experiment}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_weights_by_name_come_from_the_store_and_their_hash_counts(attempt: NewContext):
    from ultralytics.nn.tasks import DetectionModel

    named = QUICK.model_copy(update={"weights": "coco"})
    with pytest.raises(BadInput, match=r"no pretrained weights coco .*weights add coco"):
        jobs.train_detector.run(attempt(named))
    published = DetectionModel(architecture("yolov8n", 0.125), ch=3, nc=80, verbose=False).state_dict()
    context = attempt(named)
    stored = weights.put(context.store, "coco", published, None)
    jobs.train_detector.run(context)
    assert done(context, "weights").inputs["pretrained"] == stored.sha256
    untrained = DetectorFold.of(context).untrained().state_dict()
    assert torch.equal(untrained["model.1.conv.weight"], published["model.1.conv.weight"])
    assert not torch.equal(untrained["model.1.conv.weight"], initial(TINY, 1).state_dict()["model.1.conv.weight"])


def test_a_fold_without_boxes_is_bad_input(attempt: NewContext, monkeypatch: pytest.MonkeyPatch):
    from jobs.films.dataset import Dataset

    context = attempt(QUICK)
    index = Dataset(context.cache.parent / "prepared").index
    monkeypatch.setattr(Dataset, "index", index.assign(boxes=[[] for _ in range(len(index))]))
    with pytest.raises(BadInput, match="fold 0: none of the 8 films outside it has a box"):
        jobs.train_detector.run(context)
