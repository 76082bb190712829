import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from jobs.contract.exits import BadInput, Stopped
from jobs.contract.experiment import DetectorInference
from jobs.films.dataset import Dataset
from jobs.nets.tables import BOX_COLUMNS
from jobs.nets.yolo.data import DetectorFilms
from jobs.nets.yolo.model import architecture, initial
from jobs.nets.yolo.predict import opacity_ap, predict, predict_batch
from tests.jobs.nets.yolo.films import TINY, write_films

SETTINGS = DetectorInference(batch=5)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> DetectorFilms:
    dataset = write_films(tmp_path_factory.mktemp("films"))
    return DetectorFilms.of(dataset, np.arange(len(dataset.index)), 64)


class Oracle(torch.nn.Module):
    """A net that answers with each film's true boxes, in the form YOLO gives: (B, 5, anchors), centre and size."""

    def __init__(self, films: DetectorFilms, confidence: float = 0.9) -> None:
        super().__init__()
        self.films, self.confidence, self.seen = films, confidence, 0

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, None]:
        out = torch.zeros(len(images), 5, 4)
        for row in range(len(images)):
            for column, box in enumerate(self.films.boxes[self.seen + row]):
                out[row, :4, column] = torch.from_numpy(box) * self.films.pack.size
                out[row, 4, column] = self.confidence
        self.seen += len(images)
        return out, None


def test_boxes_come_back_in_the_films_own_pixels(films: DetectorFilms):
    found = predict(Oracle(films), films, SETTINGS, "cpu", lambda _: None).boxes
    assert list(found.columns) == list(BOX_COLUMNS)
    true = films.index.explode("boxes").dropna(subset="boxes")
    assert list(found["image"]) == list(true["image"])
    assert np.allclose(found[list(BOX_COLUMNS[1:5])].to_numpy(), np.stack(true["boxes"]), atol=1e-2)
    assert opacity_ap(found, films.index) == pytest.approx(1.0)


def test_boxes_stay_within_their_film_and_fall_in_confidence(films: DetectorFilms):
    found = predict(initial(TINY, 1), films, SETTINGS, "cpu", lambda _: None).boxes
    sized = found.merge(films.index[["image", "width", "height"]], on="image")
    assert len(found) > 12
    assert (sized["xmin"] >= 0).all()
    assert (sized["ymin"] >= 0).all()
    assert (sized["xmax"] <= sized["width"]).all()
    assert (sized["ymax"] <= sized["height"]).all()
    assert (found["xmax"] > found["xmin"]).all()
    assert found["confidence"].min() > SETTINGS.confidence
    for _, of_film in found.groupby("image"):
        assert of_film["confidence"].is_monotonic_decreasing


def test_how_films_are_batched_changes_nothing_but_rounding(films: DetectorFilms):
    net = initial(TINY, 1)
    one, other = (predict(net, films, DetectorInference(batch=batch), "cpu", lambda _: None).boxes for batch in (1, 12))
    assert (one["image"] == other["image"]).all()
    assert np.allclose(one.drop(columns="image"), other.drop(columns="image"), atol=1e-2)


def test_augmented_inference_looks_three_times(films: DetectorFilms):
    net = initial(TINY, 1)
    plain = predict(net, films, SETTINGS, "cpu", lambda _: None).boxes
    augmented = predict(net, films, SETTINGS, "cpu", lambda _: None, tta=True).boxes
    assert not plain.equals(augmented)
    images = films.images(range(5))
    with torch.no_grad():
        assert torch.equal(predict_batch(net, images, tta=True)[0], net(images.float() / 255, augment=True)[0])


def test_augmented_inference_is_refused_where_the_net_ignores_it(films: DetectorFilms):
    from ultralytics.nn.tasks import DetectionModel

    net = DetectionModel({**architecture("yolov8n", 0.125), "end2end": True}, ch=1, nc=1, verbose=False)
    net.end2end = True
    with pytest.raises(BadInput, match="end-to-end head, which ignores test-time augmentation"):
        predict(net, films, SETTINGS, "cpu", lambda _: None, tta=True)


def test_a_wish_to_stop_ends_prediction_after_the_batch(films: DetectorFilms):
    batches: list[int] = []

    def step(count: int) -> None:
        batches.append(count)
        raise Stopped("asked to stop")

    with pytest.raises(Stopped):
        predict(initial(TINY, 1), films, SETTINGS, "cpu", step)
    assert batches == [5]


def test_loss_is_worked_out_only_where_it_is_asked_for(films: DetectorFilms):
    net = initial(TINY, 1)
    assert math.isnan(predict(net, films, SETTINGS, "cpu", lambda _: None).loss)
    net.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    lossy = predict(net, films, SETTINGS, "cpu", lambda _: None, loss=True)
    assert math.isfinite(lossy.loss)
    assert lossy.loss > 0


def test_the_score_of_no_box_at_all_is_zero_and_of_no_truth_unknown(films: DetectorFilms):
    nothing = pd.DataFrame({name: [] for name in BOX_COLUMNS})
    assert opacity_ap(nothing, films.index) == 0
    empty = films.index.assign(boxes=[[] for _ in range(len(films))])
    assert math.isnan(opacity_ap(nothing, empty))


def test_films_of_another_size_than_training_are_predicted_in_the_same_pixels(tmp_path: Path):
    dataset: Dataset = write_films(tmp_path, sizes=(64, 128))
    large = DetectorFilms.of(dataset, np.arange(len(dataset.index)), 128)
    found = predict(Oracle(large), large, SETTINGS, "cpu", lambda _: None).boxes
    assert opacity_ap(found, large.index) == pytest.approx(1.0)
