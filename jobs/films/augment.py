"""Augmentation of training films, with their masks in step.

An augmented film depends only on (seed, epoch, film): not on the worker that draws it, the number of workers, or the
point where a training was interrupted.
"""

import os
import random
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # the import would look for updates on the internet

import albumentations as A

Level = Literal["none", "basic", "hard"]
Image = NDArray[np.uint8]

BASIC: Final = (
    A.HorizontalFlip(p=0.5),
    A.Affine(scale=(0.9, 1.1), translate_percent=(-0.05, 0.05), rotate=(-10, 10), p=1),
    A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.15, p=0.75),
)
HARD: Final = (
    A.HorizontalFlip(p=0.5),
    A.Affine(scale=(0.75, 1.25), translate_percent=(-0.1, 0.1), rotate=(-20, 20), shear=(-8, 8), p=1),
    A.GridDistortion(distort_limit=0.2, p=0.2),
    A.RandomBrightnessContrast(brightness_limit=0.3, contrast_limit=0.3, p=0.9),
    A.RandomGamma(gamma_limit=(70, 140), p=0.3),
    A.Blur(blur_limit=(3, 5), p=0.2),
    A.GaussNoise(std_range=(0.01, 0.05), p=0.15),
    A.CoarseDropout(num_holes_range=(1, 6), hole_height_range=(0.05, 0.15), hole_width_range=(0.05, 0.15), p=0.5),
)


class Augmentation:
    """Random changes of a film, determined by seed, epoch and film.

    Args:
        level: ``none``; ``basic`` (flip, small affine, brightness); ``hard`` (larger ones, distortion, noise, holes).
        seed: seed of the training.
    """

    def __init__(self, level: Level, seed: int) -> None:
        steps = {"none": (), "basic": BASIC, "hard": HARD}[level]
        self.seed = seed
        self._compose = A.Compose(steps, mask_interpolation=cv2.INTER_LINEAR) if steps else None

    def __call__(self, film: Image, mask: Image | None, epoch: int, number: int) -> tuple[Image, Image | None]:
        """Augment a film (S, S), and its mask (S, S) if given, for an epoch."""
        if self._compose is None:
            return film, mask
        place = np.random.SeedSequence([self.seed, epoch, number])
        # All steps share one stream. Compose's own seed would give each step a copy of the same stream, and every
        # mirrored film would also be blurred.
        self._compose.set_random_state(np.random.default_rng(place), random.Random(int(place.generate_state(1)[0])))  # noqa: S311
        if mask is None:
            return self._compose(image=film)["image"], None
        both = self._compose(image=film, mask=mask)
        return both["image"], both["mask"]
