"""A chest drawn from a few ellipses and arcs: body, lungs, heart, spine, ribs, collarbones, vessels.

All lengths are fractions of the film: x to the right, y down, both from 0 to 1.
"""

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[Any]  # float32, (height, width)

AIR: Final = 0.04
TISSUE: Final = 0.58
LUNG: Final = 0.17
HAZE: Final = 0.68


@dataclass(frozen=True)
class Chest:
    """The anatomy that all studies of a patient share."""

    lung_x: float  # distance of a lung's centre from the middle
    lung_width: float  # half width
    lung_height: float  # half height
    heart: float  # half width
    ribs: float  # ribs from top to bottom of the film
    rib_slope: float
    rib_phase: float
    shoulders: float  # half width of the body
    vessels: int  # seed of the vessels' pattern

    @staticmethod
    def of(rng: np.random.Generator) -> "Chest":
        """Make a random chest for a patient."""
        return Chest(
            lung_x=rng.uniform(0.185, 0.215),
            lung_width=rng.uniform(0.135, 0.165),
            lung_height=rng.uniform(0.29, 0.36),
            heart=rng.uniform(0.10, 0.16),
            ribs=rng.uniform(8.0, 12.0),
            rib_slope=rng.uniform(0.3, 0.9),
            rib_phase=rng.uniform(0, 1),
            shoulders=rng.uniform(0.42, 0.50),
            vessels=int(rng.integers(2**31)),
        )


@dataclass(frozen=True)
class Pose:
    """Position and inspiration of the patient in a film."""

    dx: float
    dy: float
    zoom: float
    tilt: float  # radians
    diaphragm: float  # height of the lungs' lower end

    @staticmethod
    def of(rng: np.random.Generator) -> "Pose":
        """Make a random pose for a study."""
        return Pose(
            dx=rng.uniform(-0.03, 0.03),
            dy=rng.uniform(-0.03, 0.03),
            zoom=rng.uniform(0.92, 1.06),
            tilt=rng.uniform(-0.05, 0.05),
            diaphragm=rng.uniform(0.74, 0.82),
        )

    def body(self, height: int, width: int, margin: int) -> tuple[Plane, Plane]:
        """Return the body coordinates of each pixel of a film (height, width) and of a margin around it."""
        y, x = np.meshgrid(
            (np.arange(-margin, height + margin, dtype=np.float32) + 0.5) / height - 0.5 - self.dy,
            (np.arange(-margin, width + margin, dtype=np.float32) + 0.5) / width - 0.5 - self.dx,
            indexing="ij",
        )
        cos, sin = np.float32(np.cos(self.tilt) / self.zoom), np.float32(np.sin(self.tilt) / self.zoom)
        return x * cos + y * sin + 0.5, y * cos - x * sin + 0.5


def inside(distance: Plane, soft: float) -> Plane:
    """Return 1 well inside (positive distance), 0 well outside, with a soft edge between."""
    return np.clip(distance / np.float32(soft) + 0.5, 0, 1)


def ellipse(x: Plane, y: Plane, centre: tuple[float, float], radii: tuple[float, float]) -> Plane:
    """Return 1 at the centre of an ellipse, 0 on its rim, and negative values outside."""
    return 1 - np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1])


def lungs(chest: Chest, pose: Pose, x: Plane, y: Plane) -> Plane:
    """Return the fraction of each pixel that is lung: two ellipses cut off by the dome of the diaphragm."""
    middle = 0.5 - 0.02
    fields = [
        inside(ellipse(x, y, (0.5 + side * chest.lung_x, middle), (chest.lung_width, chest.lung_height)), 0.12)
        * inside(pose.diaphragm - y - 1.2 * (x - 0.5 - side * chest.lung_x) ** 2, 0.03)
        for side in (-1, 1)
    ]
    return np.asarray(np.maximum(*fields))


def draw(chest: Chest, pose: Pose, x: Plane, y: Plane, haze: Plane) -> Plane:
    """Draw a chest as a film (height, width): 0 is black air, 1 the densest bone; ``haze`` fills the lungs."""
    lung = lungs(chest, pose, x, y)
    torso = inside(ellipse(x, y, (0.5, 0.75), (chest.shoulders, 0.72)), 0.10)
    neck = inside(0.09 - np.abs(x - 0.5), 0.03) * inside(0.4 - y, 0.1)
    film: Plane = AIR + (TISSUE - AIR) * np.maximum(torso, neck)
    film += (LUNG - film) * 0.92 * lung
    film += 0.05 * lung * vessels(chest, x, y)
    film += (HAZE - film) * haze * np.minimum(lung + 0.25, 1)
    heart = inside(ellipse(x, y, (0.54, 0.64), (chest.heart, 0.15)), 0.15)
    spine = inside(0.055 - np.abs(x - 0.5), 0.03) * torso
    film += np.maximum(heart * (0.64 - film), 0)
    film += np.maximum(spine * (0.70 - film), 0)
    film += 0.09 * ribs(chest, x, y) * torso * inside(0.85 - y, 0.1)
    collar = np.abs(y - 0.235 + 0.22 * np.abs(np.abs(x - 0.5) - 0.1))
    film += 0.12 * inside(0.012 - collar, 0.012) * inside(0.33 - np.abs(x - 0.5), 0.04)
    return film


def ribs(chest: Chest, x: Plane, y: Plane) -> Plane:
    """Draw bright arcs that slope down from the spine: back ribs and, fainter, front ribs."""
    out = np.abs(x - 0.5)
    back = np.cos(2 * np.pi * (chest.ribs * (y - chest.rib_slope * out + 1.6 * out**2) + chest.rib_phase))
    front = np.cos(2 * np.pi * (0.7 * chest.ribs * (y + 0.9 * out) + chest.rib_phase))
    reach = inside(0.40 - out, 0.06)
    return reach * (inside(back - 0.35, 0.5) + 0.35 * inside(front - 0.6, 0.5))


def vessels(chest: Chest, x: Plane, y: Plane) -> Plane:
    """Draw vessels as smooth noise specific to the patient, stronger towards the middle."""
    rng = np.random.default_rng(chest.vessels)
    grain: Plane = cv2.GaussianBlur(rng.standard_normal((96, 96)).astype(np.float32), (0, 0), 1.6)
    pattern = cv2.remap(grain / grain.std(), x * 95, y * 95, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(pattern * np.exp(-6 * np.abs(x - 0.5)))
