"""Augmentation of training films, with their masks in step.

An augmented film depends only on (seed, epoch, film): not on the worker that draws it, the number of workers, or the
point where a training was interrupted.
"""

import inspect
import os
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.contract.exits import BadInput
from jobs.contract.experiment.augmentation import Augment, Level

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # the import would look for updates on the internet

import albumentations as A

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
# After the competition's first place (github.com/dungnb1333/SIIM-COVID19-Detection). albumentations has since renamed
# what it calls ShiftScaleRotate, IAASharpen, IAAEmboss and Cutout, whose 32 of 512 pixels are a fraction here.
STRONG: Final[tuple[Mapping[str, dict[str, Any]], ...]] = (
    {"RandomResizedCrop": {"scale": [0.25, 1.0], "ratio": [3 / 4, 4 / 3]}},
    {"Affine": {"scale": [0.9, 1.1], "translate_percent": [-0.05, 0.05], "rotate": [-30, 30], "p": 0.25}},
    {"HorizontalFlip": {"p": 0.5}},
    {"VerticalFlip": {"p": 0.5}},
    {
        "OneOf": {
            "transforms": [
                {"MotionBlur": {"p": 0.2}},
                {"MedianBlur": {"blur_limit": 3, "p": 0.1}},
                {"Blur": {"blur_limit": 3, "p": 0.1}},
            ],
            "p": 0.25,
        }
    },
    {
        "OneOf": {
            "transforms": [
                {"CLAHE": {"clip_limit": 2}},
                {"Sharpen": {}},
                {"Emboss": {}},
                {"RandomBrightnessContrast": {}},
            ],
            "p": 0.25,
        }
    },
    {
        "CoarseDropout": {
            "num_holes_range": [8, 8],
            "hole_height_range": [1 / 16, 1 / 16],
            "hole_width_range": [1 / 16, 1 / 16],
            "p": 0.25,
        }
    },
)
FIXED: Final[Mapping[Level, tuple[Any, ...]]] = {"none": (), "basic": BASIC, "hard": HARD}


class Augmentation:
    """Random changes of a film, determined by seed, epoch and film.

    Args:
        augment: ``none``; ``basic`` (flip, small affine, brightness); ``hard`` (larger ones, distortion, noise, holes);
            ``strong`` (crops down to a quarter, both flips, blur, contrast, holes); or a list of transforms.
        seed: seed of the training.
        size: pixels per side of the films; the output size of a crop or resize that names none.

    Raises:
        BadInput: albumentations refuses a transform of a list.
    """

    def __init__(self, augment: Augment, seed: int, size: int) -> None:
        steps = FIXED[augment] if isinstance(augment, str) and augment in FIXED else _build(_listed(augment), size)
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


def check_augment(augment: Augment, size: int, where: str) -> None:
    """Build an experiment's augmentation and apply each of its transforms to a film, before anything is trained.

    Args:
        augment: a name or a list of transforms.
        size: pixels per side of the films.
        where: the field's path, for the message.

    Raises:
        BadInput: albumentations refuses a transform, or it does not return a grey film of the same size.
    """
    if isinstance(augment, str):
        return
    film = np.tile(np.arange(size, dtype=np.uint8), (size, 1))
    for step in _listed(augment):
        try:
            (transform,) = _build([step], size)
            transform.p = 1.0
            result = A.Compose([transform], mask_interpolation=cv2.INTER_LINEAR)(image=film, mask=film)
        except BadInput as error:
            raise BadInput(f"{where}: {error}") from error
        except Exception as error:  # whatever a transform raises on a grey film
            cause = _first_line(error)
            raise BadInput(f"{where}: {next(iter(step))} does not work on a grey film: {cause}.") from error
        for what in ("image", "mask"):
            if result[what].shape != film.shape or result[what].dtype != film.dtype:
                raise BadInput(
                    f"{where}: {next(iter(step))} turns the {what} of {size} × {size} uint8 pixels into "
                    f"{' × '.join(map(str, result[what].shape))} {result[what].dtype}: leave it out."
                )


def _listed(augment: Augment) -> Sequence[Mapping[str, Any]]:
    return STRONG if isinstance(augment, str) else augment


def _build(steps: Sequence[Mapping[str, Any]], size: int) -> list[Any]:
    """Create the transforms of a list."""
    return [_create(name, values, size) for step in steps for name, values in step.items()]


def _create(name: str, values: Mapping[str, Any], size: int) -> Any:
    kind = getattr(A, name, None)
    if not inspect.isclass(kind) or not issubclass(kind, A.BasicTransform | A.BaseCompose):
        raise BadInput(f"albumentations {A.__version__} has no transform {name}.")
    parameters = inspect.signature(kind).parameters
    if unknown := sorted(values.keys() - parameters.keys()):
        raise BadInput(f"{name} has no {unknown[0]}; it has {', '.join(parameters)}.")
    own = {key: value for key, value in (("size", (size, size)), ("height", size), ("width", size))
           if key in parameters and parameters[key].default is inspect.Parameter.empty}  # fmt: skip
    given = dict(values)
    if "transforms" in given:
        given["transforms"] = _build(given["transforms"], size)
    try:
        return kind(**{**own, **given})
    except (ValueError, TypeError) as error:
        raise BadInput(f"albumentations refuses {name} with {dict(values)}: {_first_line(error)}.") from error


def _first_line(error: Exception) -> str:
    """The cause in one line; pydantic's first line only counts the errors."""
    lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
    return ": ".join(lines[1:3]).partition(" [type=")[0] if "validation error" in lines[0] else lines[0].rstrip(".")
