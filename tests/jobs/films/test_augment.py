import numpy as np
import pytest
from numpy.typing import NDArray

from jobs.films.augment import Augmentation
from jobs.films.masks import draw_mask, shrink_mask

BOX = np.array([[20.0, 30.0, 60.0, 90.0]])


def film() -> NDArray[np.uint8]:
    """Grey, with a white rectangle where BOX is."""
    square = np.full((128, 128), 40, np.uint8)
    square[30:90, 20:60] = 250
    return square


@pytest.mark.parametrize("level", ["basic", "hard"])
def test_a_picture_follows_from_seed_epoch_and_film_alone(level: str):
    one, other = Augmentation(level, 1), Augmentation(level, 1)  # type: ignore[arg-type]
    other(film(), None, 7, 7)  # what was drawn before does not matter
    first = one(film(), None, 2, 5)[0]
    assert (first == other(film(), None, 2, 5)[0]).all()
    for seed, epoch, number in ((1, 3, 5), (1, 2, 6), (2, 2, 5)):
        assert (first != Augmentation(level, seed)(film(), None, epoch, number)[0]).any()  # type: ignore[arg-type]


@pytest.mark.parametrize("level", ["none", "basic", "hard"])
def test_a_mask_changes_nothing_of_its_film(level: str):
    augmentation = Augmentation(level, 1)  # type: ignore[arg-type]
    for number in range(10):
        with_mask = augmentation(film(), draw_mask(BOX, 128, "box"), 0, number)[0]
        assert (with_mask == augmentation(film(), None, 0, number)[0]).all()


@pytest.mark.parametrize("level", ["none", "basic"])
def test_masks_stay_where_their_opacities_are(level: str):
    augmentation = Augmentation(level, 1)  # type: ignore[arg-type]
    for number in range(20):
        picture, mask = augmentation(film(), draw_mask(BOX, 128, "box"), 0, number)
        assert mask is not None
        bright = picture > 130
        inside = mask > 127
        assert (bright & inside).sum() / (bright | inside).sum() > 0.97


def test_steps_decide_independently_of_each_other():
    # A seed of its own for each step would couple them: a mirrored film would always be a brighter one.
    augmentation, grey = Augmentation("basic", 1), film()
    grey[:, 64:] //= 2
    pictures = [augmentation(grey, None, 0, number)[0] for number in range(200)]
    mirrored = np.array([picture[:, :64].mean() < picture[:, 64:].mean() for picture in pictures])
    brighter = np.array([picture.max() == 255 for picture in pictures])
    assert 60 < mirrored.sum() < 140
    assert abs(np.corrcoef(mirrored, brighter)[0, 1]) < 0.25


def test_a_box_is_drawn_to_the_pixel():
    mask = draw_mask(BOX, 128, "box")
    expected = np.zeros((128, 128), np.uint8)
    expected[30:90, 20:60] = 255
    assert (mask == expected).all()


def test_an_ellipse_touches_its_box_and_has_its_area():
    mask = draw_mask(BOX, 128, "ellipse") / 255
    assert mask.sum() == pytest.approx(np.pi / 4 * 40 * 60, rel=0.02)
    assert mask[31, 21] == 0
    assert mask[60, 40] == 1


def test_a_soft_mask_is_half_on_the_edge_and_fades_over_half_a_side():
    mask = draw_mask(BOX, 128, "soft") / 255
    assert mask[60, 40] == 1
    assert mask[60, 19:21] == pytest.approx(0.5, abs=0.05)
    assert mask[60, 9] == 0
    assert mask.sum() == pytest.approx(40 * 60, rel=0.05)


def test_boxes_beyond_the_film_and_overlapping_ones_are_no_trouble():
    outside = np.array([[-50.0, -50.0, 20.0, 20.0], [10.0, 10.0, 30.0, 30.0], [200.0, 200.0, 300.0, 300.0]])
    mask = draw_mask(outside, 128, "box")
    assert mask.max() == 255
    assert (mask > 0).sum() == 20 * 20 + 20 * 20 - 10 * 10


def test_a_shrunk_mask_holds_the_share_of_each_cell():
    mask = draw_mask(np.array([[0.0, 0.0, 24.0, 16.0]]), 64, "box")
    assert shrink_mask(mask, 4)[0].tolist() == [255, 128, 0, 0]
