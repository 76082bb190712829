from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from jobs.contract.exits import BadInput
from jobs.contract.experiment.augmentation import walk
from jobs.films.augment import STRONG, Augmentation, check_augment
from jobs.films.masks import draw_mask, shrink_mask

BOX = np.array([[20.0, 30.0, 60.0, 90.0]])


def film() -> NDArray[np.uint8]:
    """Grey, with a white rectangle where BOX is."""
    square = np.full((128, 128), 40, np.uint8)
    square[30:90, 20:60] = 250
    return square


LISTED = (
    {"OneOf": {"transforms": [{"CLAHE": {}}, {"MotionBlur": {}}], "p": 0.5}},
    {"RandomResizedCrop": {"scale": [0.5, 1]}},
)


@pytest.mark.parametrize("level", ["basic", "hard", "strong", LISTED], ids=["basic", "hard", "strong", "list"])
def test_a_picture_follows_from_seed_epoch_and_film_alone(level: str):
    one, other = Augmentation(level, 1, 128), Augmentation(level, 1, 128)  # type: ignore[arg-type]
    other(film(), None, 7, 7)  # what was drawn before does not matter
    first = one(film(), None, 2, 5)[0]
    assert (first == other(film(), None, 2, 5)[0]).all()
    for seed, epoch, number in ((1, 3, 5), (1, 2, 6), (2, 2, 5)):
        assert (first != Augmentation(level, seed, 128)(film(), None, epoch, number)[0]).any()  # type: ignore[arg-type]


@pytest.mark.parametrize("level", ["none", "basic", "hard", "strong"])
def test_a_mask_changes_nothing_of_its_film(level: str):
    augmentation = Augmentation(level, 1, 128)  # type: ignore[arg-type]
    for number in range(10):
        with_mask = augmentation(film(), draw_mask(BOX, 128, "box"), 0, number)[0]
        assert (with_mask == augmentation(film(), None, 0, number)[0]).all()


@pytest.mark.parametrize("level", ["none", "basic"])
def test_masks_stay_where_their_opacities_are(level: str):
    augmentation = Augmentation(level, 1, 128)  # type: ignore[arg-type]
    for number in range(20):
        picture, mask = augmentation(film(), draw_mask(BOX, 128, "box"), 0, number)
        assert mask is not None
        bright = picture > 130
        inside = mask > 127
        assert (bright & inside).sum() / (bright | inside).sum() > 0.97


def test_steps_decide_independently_of_each_other():
    # A seed of its own for each step would couple them: a mirrored film would always be a brighter one.
    augmentation, grey = Augmentation("basic", 1, 128), film()
    grey[:, 64:] //= 2
    pictures = [augmentation(grey, None, 0, number)[0] for number in range(200)]
    mirrored = np.array([picture[:, :64].mean() < picture[:, 64:].mean() for picture in pictures])
    brighter = np.array([picture.max() == 255 for picture in pictures])
    assert 60 < mirrored.sum() < 140
    assert abs(np.corrcoef(mirrored, brighter)[0, 1]) < 0.25


def test_strong_crops_flips_blurs_changes_contrast_and_cuts_holes():
    names = [name for name, _ in walk(STRONG)]
    for name in (
        "RandomResizedCrop",
        "HorizontalFlip",
        "VerticalFlip",
        "RandomBrightnessContrast",
        "Blur",
        "CoarseDropout",
    ):
        assert name in names
    augmentation = Augmentation("strong", 1, 128)
    areas = []
    for number in range(100):
        picture, mask = augmentation(film(), draw_mask(BOX, 128, "box"), 0, number)
        assert picture.shape == (128, 128)
        assert picture.dtype == np.uint8
        assert mask is not None
        areas.append((mask > 127).sum() / (60 * 40))
    assert min(areas) < 0.8
    assert max(areas) > 1.5


def test_a_list_is_applied_as_it_is_written():
    flip = Augmentation(({"HorizontalFlip": {"p": 1.0}},), 1, 128)
    picture, mask = flip(film(), draw_mask(BOX, 128, "box"), 0, 0)
    assert (picture == film()[:, ::-1]).all()
    assert mask is not None
    assert (mask == draw_mask(BOX, 128, "box")[:, ::-1]).all()


def test_a_crop_that_names_no_size_returns_the_films():
    for step in ({"RandomResizedCrop": {}}, {"RandomSizedCrop": {"min_max_height": [40, 80]}}, {"Resize": {}}):
        assert Augmentation((step,), 1, 128)(film(), None, 0, 0)[0].shape == (128, 128)


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ({"Cutout": {}}, "albumentations 2.0.8 has no transform Cutout"),
        ({"Compose_": {}}, "has no transform Compose_"),
        ({"HorizontalFlip": {"q": 1}}, "HorizontalFlip has no q; it has p"),
        ({"Blur": {"blur_limit": "wide"}}, r"refuses Blur with \{'blur_limit': 'wide'\}"),
        ({"CoarseDropout": {"num_holes_range": [6, 1]}}, "First value should be less than the second"),
        ({"CenterCrop": {"height": 32, "width": 32}}, r"turns the image of 64 × 64 uint8 pixels into 32 × 32 uint8"),
        ({"ToFloat": {}}, r"into 64 × 64 float32"),
        ({"ChannelDropout": {}}, "ChannelDropout does not work on a grey film"),
        ({"OneOf": {"transforms": [{"Blur": {"q": 1}}]}}, "Blur has no q"),
    ],
)
def test_a_transform_that_does_not_go_is_refused_before_training(step: dict[str, dict[str, Any]], sentence: str):
    with pytest.raises(BadInput, match=rf"^classifiers\.b3\.augment: .*{sentence}"):
        check_augment(({"HorizontalFlip": {}}, step), 64, "classifiers.b3.augment")
    check_augment("strong", 64, "classifiers.b3.augment")


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
