from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from jobs.contract.exits import BadInput
from jobs.films.augment import Augmentation
from jobs.films.dataset import Dataset
from jobs.films.loader import Films, Masks, TrainingFilms, batches, epoch_batches, epoch_steps, unboxed_siblings
from tests.jobs.nets.classifier.films import write_films


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_films(tmp_path_factory.mktemp("films"), studies=10)


def all_of(dataset: Dataset, siblings: str = "keep") -> Films:
    return Films.of(dataset.index, np.ones(len(dataset.index), bool), 64, siblings)  # type: ignore[arg-type]


def test_films_carry_their_labels_and_boxes_in_pixels_of_the_pack(dataset: Dataset):
    films = all_of(dataset)
    index = dataset.index
    boxed = index["boxes"].map(len).to_numpy() > 0
    assert (films.film == boxed).all()
    assert films.rows.tolist() == list(range(len(index)))
    number = int(np.flatnonzero(boxed)[0])
    xmin, ymin, xmax, ymax = films.boxes[number][0]
    square = dataset.pack(64)[number]
    inside = square[int(ymin) + 2 : int(ymax) - 2, int(xmin) + 2 : int(xmax) - 2]
    assert inside.mean() > square[square > 0].mean() + 50


@pytest.mark.parametrize(("policy", "lost", "uncounted"), [("keep", 0, 0), ("drop", 1, 0), ("mask", 0, 1)])
def test_siblings_of_a_boxed_film_are_kept_dropped_or_not_counted(
    dataset: Dataset, policy: str, lost: int, uncounted: int
):
    # Of ten studies two have a second film; one of these studies is negative in no film, the other boxed in one.
    orphans = int(unboxed_siblings(dataset.index).sum())
    films = all_of(dataset, policy)
    assert orphans > 0
    assert len(films) == len(dataset.index) - lost * orphans
    assert int((~films.counted).sum()) == uncounted * orphans


def test_a_study_without_any_box_has_no_orphans():
    index = pd.DataFrame({"study": ["a", "a", "b", "b"], "boxes": [[], [], [[1.0, 1.0, 2.0, 2.0]], []]})
    assert unboxed_siblings(index).tolist() == [False, False, False, True]


def test_a_film_without_label_is_refused(dataset: Dataset):
    index = dataset.index.assign(study_class=None)
    with pytest.raises(BadInput, match="have no label"):
        Films.of(index, np.ones(len(index), bool), 64)


def test_the_order_follows_from_seed_and_epoch_alone():
    first, again, later, other = (
        np.concatenate(epoch_batches(20, 4, 1, seed, epoch)).tolist()
        for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0))
    )
    assert first == again
    assert sorted(first) == list(range(20))
    assert first not in (later, other)


def test_steps_are_always_full_unless_there_are_fewer_films_than_one_needs():
    assert [len(one) for one in epoch_batches(19, 4, 2, 1, 0)] == [4, 4, 4, 4]
    assert epoch_steps(19, 4, 2) == 2
    assert [len(one) for one in epoch_batches(5, 4, 2, 1, 0)] == [4, 1]


def test_accumulated_batches_are_the_large_batch_cut_up():
    small, large = epoch_batches(32, 4, 2, 1, 0), epoch_batches(32, 8, 1, 1, 0)
    assert np.concatenate(small).tolist() == np.concatenate(large).tolist()


def test_workers_give_the_batches_that_one_process_gives(dataset: Dataset):
    cv2.setNumThreads(4)  # OpenCV's threads do not survive the workers' fork
    cv2.LUT(np.zeros((2000, 2000), np.uint8), np.arange(256, dtype=np.uint8))
    films = TrainingFilms(all_of(dataset), dataset.pack(64), Masks(4, "soft"), Augmentation("hard", 1, 64), epoch=2)
    order = epoch_batches(len(dataset.index), 4, 1, 1, 2)
    for alone, ahead in zip(batches(films, order, 0, False), batches(films, order, 2, False), strict=True):
        for mine, its in zip(alone, ahead, strict=True):
            assert torch.equal(mine, its)


def test_an_epoch_can_be_taken_up_at_any_batch(dataset: Dataset):
    films = TrainingFilms(all_of(dataset), dataset.pack(64), None, Augmentation("basic", 1, 64), epoch=0)
    order = epoch_batches(len(dataset.index), 3, 1, 1, 0)
    whole, rest = list(batches(films, order, 0, False)), list(batches(films, order[2:], 0, False))
    assert [batch.masks for batch in whole] == [None] * len(whole)
    assert all(torch.equal(one.films, other.films) for one, other in zip(whole[2:], rest, strict=True))


def test_a_sample_holds_whole_studies(dataset: Dataset):
    films = all_of(dataset)
    sample = films.of_studies(4, seed=1)
    assert len(np.unique(sample.group)) == 4
    studies = set(dataset.index["study"].iloc[sample.rows])
    assert len(sample) == dataset.index["study"].isin(studies).sum()


def test_a_loader_can_be_pickled_without_its_maps(dataset: Dataset, tmp_path: Path):
    torch.save(dataset.pack(64), tmp_path / "pack")
    pack = torch.load(tmp_path / "pack", weights_only=False)
    assert (pack[3] == dataset.pack(64)[3]).all()
