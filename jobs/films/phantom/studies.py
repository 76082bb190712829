"""The studies of a phantom and their drawn films, determined by the seed."""

import hashlib
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.contract.experiment.source import Phantom
from jobs.films.phantom.chest import Chest, Plane, Pose, draw
from jobs.films.phantom.opacities import Opacity, bounding_box, opacities

STUDIES: Final = (1, 2, 1, 2, 2)  # studies per patient, in turn: 50 patients have 80
SIBLINGS: Final = 9  # every ninth study has two films
MACHINES: Final = ("Phantom One", "Phantom Two", "Phantom Three")
MIX: Final = ("negative", "typical", "indeterminate", "atypical", "negative", "typical", "indeterminate", "atypical")


@dataclass(frozen=True)
class Study:
    """A study before its films are drawn."""

    number: int
    study_class: str
    patient: str
    chest: Chest
    pose: Pose
    opacities: list[Opacity]
    ratio: float  # height over width of its films
    films: int
    sex: str  # F or M, of the patient
    age: int  # years, of the patient
    manufacturer: str  # of the machine


@dataclass(frozen=True)
class DrawnFilm:
    """A drawn film: values 0 to 1 (height, width), and boxes (N, 4) in its pixels."""

    pixels: Plane
    boxes: NDArray[np.float64]


def make_studies(phantom: Phantom) -> list[Study]:
    """Make all studies. The last duplicates the first under another patient; a typical study is badly centred."""
    studies: list[Study] = []
    order = random_generator(phantom.seed, 0)
    classes: list[str] = []
    for patient in range(phantom.patients):
        chest = Chest.of(random_generator(phantom.seed, 1, patient))
        person = random_generator(phantom.seed, 4, patient)
        sex, age = str(person.choice(["F", "M"])), int(person.integers(18, 95))
        for _ in range(STUDIES[patient % len(STUDIES)]):
            number = len(studies)
            classes = classes or [MIX[n] for n in order.permutation(len(MIX))]
            study_class = classes.pop()
            rng = random_generator(phantom.seed, 2, number)
            pose = Pose.of(rng)
            films = 2 if number % SIBLINGS == SIBLINGS - 1 else 1
            shades = opacities(study_class, chest, pose, rng)
            name = phantom_id("patient", phantom.seed, patient)
            ratio = rng.uniform(0.82, 1.2)
            machine = MACHINES[int(random_generator(phantom.seed, 5, number).integers(len(MACHINES)))]
            studies.append(Study(number, study_class, name, chest, pose, shades, ratio, films, sex, age, machine))
    off_centre = next((study for study in studies[:-1] if study.study_class == "typical"), None)
    if off_centre:
        studies[off_centre.number] = replace(off_centre, pose=_beyond_the_edge(off_centre))
    last = studies[-1]
    studies[-1] = replace(studies[0], number=last.number, patient=last.patient, films=1, sex=last.sex, age=last.age)
    return studies


def _beyond_the_edge(study: Study) -> Pose:
    """Shift the pose left until the leftmost opacity ends just outside the film."""
    rim = min(opacity.x - opacity.width for opacity in study.opacities)
    return replace(study.pose, dx=-0.5 - (rim - 0.5) * study.pose.zoom - 0.01, tilt=0)


def draw_film(study: Study, sibling: int, size: int, padding: int, rng: np.random.Generator) -> DrawnFilm:
    """Draw a film of a study; only the first film of a study has boxes.

    The chest is drawn with a margin and then cropped to the film, so a box may extend beyond the film's edge.
    """
    longer = size * rng.uniform(0.5, 1)
    height, width = round(longer * min(1, study.ratio)), round(longer * min(1, 1 / study.ratio))
    margin = max(size // 40, 4)
    pose = replace(study.pose, dx=study.pose.dx + 0.03 * sibling, zoom=study.pose.zoom * (1 - 0.05 * sibling))
    x, y = pose.body(height, width, margin)
    shades = [opacity.draw(x, y) for opacity in study.opacities]
    haze = sum((s * o.density for s, o in zip(shades, study.opacities, strict=True)), np.zeros_like(x))
    film: Plane = draw(study.chest, pose, x, y, np.minimum(haze, 1))
    film = cv2.GaussianBlur(film, (0, 0), rng.uniform(0.5, 0.9))
    film = np.clip(film, 0, 1) ** rng.uniform(0.85, 1.2) * rng.uniform(0.9, 1.1)
    film += rng.normal(0, rng.uniform(0.01, 0.025), film.shape).astype(np.float32)
    film = film[margin:-margin, margin:-margin]
    boxes = [bounding_box(shade) - margin for shade in shades if sibling == 0]
    shown = np.array(boxes, np.float64).reshape(-1, 4) + np.array([padding, 0, padding, 0])
    return DrawnFilm(np.pad(film, ((0, 0), (padding, padding))), shown)


def phantom_id(kind: str, seed: int, number: int) -> str:
    """Return an id of twelve hex digits, like the competition's ids."""
    return hashlib.sha256(f"{kind} {seed} {number}".encode()).hexdigest()[:12]


def random_generator(*key: int) -> np.random.Generator:
    """Return a generator seeded with several numbers."""
    return np.random.default_rng(key)
