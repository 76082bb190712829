"""Opacities, which define a study's class.

negative: none. typical: several patches, mostly low and lateral, in both lungs. indeterminate: a wide haze beside one
hilum. atypical: a dense ring with a dark centre at one apex. A mirrored film keeps its class.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.films.phantom.chest import Chest, Plane, Pose, ellipse, inside


@dataclass(frozen=True)
class Opacity:
    """An opacity, in coordinates of the body."""

    x: float
    y: float
    width: float  # half width
    height: float  # half height
    density: float
    edge: float  # softness of the rim as a fraction of the radius
    hollow: float  # radius of the dark centre as a fraction; 0: none
    ripple: float  # phase of the uneven rim

    def draw(self, x: Plane, y: Plane) -> Plane:
        """Return the fraction of each pixel that the opacity covers, 0 to 1."""
        angle = np.arctan2(y - self.y, x - self.x)
        uneven = 1 + 0.10 * np.sin(3 * angle + self.ripple) + 0.06 * np.sin(5 * angle - 2 * self.ripple)
        depth = 1 - (1 - ellipse(x, y, (self.x, self.y), (self.width, self.height))) / uneven
        shade = inside(depth, self.edge)
        return shade * (1 - 0.85 * inside(depth - 1 + self.hollow, 0.15)) if self.hollow else shade


def opacities(study_class: str, chest: Chest, pose: Pose, rng: np.random.Generator) -> list[Opacity]:
    """Make random opacities for a study of a class."""
    if study_class == "typical":
        sides = [-1, 1] if rng.random() < 0.4 else [-1, 1, int(rng.choice([-1, 1]))]
        return [_patch(chest, pose, side, upper=n == 2, rng=rng) for n, side in enumerate(sides)]
    side = int(rng.choice([-1, 1]))
    if study_class == "indeterminate":
        return [
            Opacity(
                x=0.5 + side * (chest.lung_x - 0.02),
                y=0.47 + rng.uniform(-0.04, 0.04),
                width=chest.lung_width * rng.uniform(0.72, 0.86),
                height=rng.uniform(0.13, 0.17),
                density=rng.uniform(0.62, 0.72),
                edge=0.5,
                hollow=0,
                ripple=rng.uniform(0, 6),
            )
        ]
    if study_class == "atypical":
        return [
            Opacity(
                x=0.5 + side * (chest.lung_x + rng.uniform(-0.01, 0.02)),
                y=0.29 + rng.uniform(-0.02, 0.03),
                width=rng.uniform(0.075, 0.09),
                height=rng.uniform(0.075, 0.09),
                density=1,
                edge=0.12,
                hollow=rng.uniform(0.45, 0.55),
                ripple=rng.uniform(0, 6),
            )
        ]
    return []


def _patch(chest: Chest, pose: Pose, side: int, upper: bool, rng: np.random.Generator) -> Opacity:
    """Make a patch of a typical study: low in a lung, or above the other patches (``upper``)."""
    return Opacity(
        x=0.5 + side * (chest.lung_x + rng.uniform(0.02, 0.05)),
        y=(pose.diaphragm - 0.32 if upper else pose.diaphragm - 0.12) + rng.uniform(-0.02, 0.02),
        width=rng.uniform(0.065, 0.085),
        height=rng.uniform(0.065, 0.09),
        density=rng.uniform(0.75, 0.9),
        edge=0.3,
        hollow=0,
        ripple=rng.uniform(0, 6),
    )


def bounding_box(shade: Plane) -> NDArray[np.float64]:
    """Return ``xmin ymin xmax ymax`` in pixels around all pixels that are at least half covered."""
    rows, columns = np.flatnonzero((shade >= 0.5).any(1)), np.flatnonzero((shade >= 0.5).any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)
