from pathlib import Path

import numpy as np
import pytest
import torch

from jobs.films.dataset import Dataset
from jobs.nets.yolo.data import DetectorFilms, EpochOrder, seeded
from tests.jobs.nets.yolo.films import TINY, write_films
from tests.jobs.nets.yolo.lab import training

PLAIN = {"mosaic": 0.0, "mixup": 0.0, "translate": 0.0, "scale": 0.0, "flip": 0.0, "brightness": 0.0}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_films(tmp_path_factory.mktemp("films"))


def loader(dataset: Dataset, folder: Path, **changes: object):
    job = training(dataset, TINY.model_copy(update=changes), folder)
    job._setup_train()
    return job.train_loader


def test_without_augmentation_a_sample_is_the_packed_film_with_its_boxes(dataset: Dataset, tmp_path: Path):
    packed = loader(dataset, tmp_path, **PLAIN).dataset
    for position, row in enumerate(packed.films.rows):
        sample = packed[position]
        assert np.array_equal(sample["img"].numpy()[0], dataset.pack(64)[int(row)])
        assert sample["img"].shape == (1, 64, 64)
        assert np.allclose(sample["bboxes"].numpy(), packed.films.boxes[position], atol=1e-6)


def test_boxes_given_to_yolo_lie_where_the_film_is_bright(dataset: Dataset):
    films = DetectorFilms.of(dataset, np.arange(len(dataset.index)), 64)
    for position, boxes in enumerate(films.boxes):
        for x, y, width, height in boxes * 64:
            inner = films.images(range(position, position + 1))[0, 0]
            left, right = round(float(x - width / 2)) + 1, round(float(x + width / 2)) - 1
            top, bottom = round(float(y - height / 2)) + 1, round(float(y + height / 2)) - 1
            assert inner[top:bottom, left:right].min() > 0.55 * 255


def test_a_sample_follows_from_seed_epoch_and_film_alone(dataset: Dataset, tmp_path: Path):
    packed = loader(dataset, tmp_path, mosaic=1.0, mixup=1.0).dataset
    first = [packed[position]["img"] for position in range(8)]
    again = [packed[position]["img"] for position in reversed(range(8))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    packed.epoch = 1
    assert not any(torch.equal(a, packed[position]["img"]) for position, a in enumerate(first))


def test_mosaic_draws_from_films_that_were_not_loaded_before(dataset: Dataset, tmp_path: Path):
    # ultralytics' own dataset draws from a buffer of the latest films, which a resumed training does not have.
    packed = loader(dataset, tmp_path, mosaic=1.0).dataset
    assert packed.buffer == []
    assert packed[0]["img"].shape == (1, 64, 64)
    assert packed.buffer == []


def test_brightness_scales_grey_values_within_its_bounds(dataset: Dataset, tmp_path: Path):
    plain = loader(dataset, tmp_path, **PLAIN).dataset
    jittered = loader(dataset, tmp_path, **{**PLAIN, "brightness": 0.4}).dataset
    factors = []
    for position in range(8):
        before, after = plain[position]["img"].float(), jittered[position]["img"].float()
        dark = (before > 40) & (before < 150)
        factors.append(float((after[dark] / before[dark]).mean()))
    assert all(0.57 < factor < 1.43 for factor in factors)
    assert max(factors) - min(factors) > 0.2


def test_an_epochs_order_is_a_permutation_of_its_own(dataset: Dataset):
    order = EpochOrder(50, seed=7)
    first = list(order)
    assert sorted(first) == list(range(50))
    assert first == list(order)
    order.epoch = 1
    assert first != list(order)


@pytest.mark.slow
def test_workers_give_the_same_batches_as_none(dataset: Dataset, tmp_path: Path):
    alone = loader(dataset, tmp_path, mosaic=1.0, mixup=0.5)
    alone.start(2)
    helped = type(alone)(alone.dataset, TINY.batch, workers=2, pin=False)
    helped.start(2)
    for one, other in zip(alone, helped, strict=True):
        assert one["im_file"] == other["im_file"]
        assert torch.equal(one["img"], other["img"])
        assert torch.equal(one["bboxes"], other["bboxes"])


def test_seeding_a_sample_leaves_the_global_generators_as_they_were():
    np.random.seed(1)
    expected = np.random.rand(), np.random.rand()
    np.random.seed(1)
    first = np.random.rand()
    with seeded(1, 2, 3):
        inside = np.random.rand()
    assert (first, np.random.rand()) == expected
    with seeded(1, 2, 3):
        assert np.random.rand() == inside
