"""Synthetic chest films in the competition's layout: ``train/<study>/<series>/<image>.dcm`` and two label files.

The same seed gives the same bytes. The films have what real archives have: patients with several studies, studies
with several films of which only one carries the boxes, six transfer syntaxes and all that ``phantom_dicom`` lists, a
box that reaches slightly beyond its film, and one film that is there twice under two patients.
"""

import csv
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.contract.exits import BadInput
from jobs.contract.names import STUDY_CLASSES, STUDY_COLUMNS
from jobs.films.phantom.chest import Chest, Plane, Pose, draw
from jobs.films.phantom.dicom import PADDING, Identity, Quirks, write_dicom
from jobs.films.phantom.opacities import Opacity, bounding_box, opacities

PREFIX: Final = "phantom:"
VERSION: Final = 1  # raised where the same seed begins to give other films
STUDIES: Final = (1, 2, 1, 2, 2)  # studies of a patient, in turn: 50 patients have 80
SIBLINGS: Final = 9  # every ninth study has two films
MIX: Final = ("negative", "typical", "indeterminate", "atypical", "negative", "typical", "indeterminate", "atypical")


@dataclass(frozen=True)
class Phantom:
    """What ``phantom:patients=60,seed=1,size=320`` asks for."""

    patients: int = 60
    seed: int = 1
    size: int = 320  # the largest film's longer side in pixels; the smallest's is half of it

    @classmethod
    def parse(cls, source: str) -> Self:
        """Read a source.

        Raises:
            BadInput: an unknown key, no number, or a number that makes no films.
        """
        values: dict[str, int] = {}
        for part in filter(None, source.removeprefix(PREFIX).split(",")):
            key, _, value = part.partition("=")
            if key not in cls.__dataclass_fields__:
                raise BadInput(f"{source!r}: no key {key!r}; a phantom has {', '.join(cls.__dataclass_fields__)}")
            if not value.isdecimal():
                raise BadInput(f"{source!r}: {key} must be a whole number, not {value!r}")
            values[key] = int(value)
        phantom = cls(**values)
        if phantom.patients < 2 or phantom.size < 96:
            raise BadInput(f"{source!r}: a phantom needs at least 2 patients and films of at least 96 pixels")
        return phantom

    def __str__(self) -> str:
        return f"{PREFIX}patients={self.patients},seed={self.seed},size={self.size}"


@dataclass(frozen=True)
class Study:
    """A study before its films are drawn."""

    number: int
    study_class: str
    patient: str
    chest: Chest
    pose: Pose
    opacities: list[Opacity]
    ratio: float  # height of its films over width
    films: int


@dataclass(frozen=True)
class Film:
    """A drawn film: values 0 to 1 (height, width), and boxes (N, 4) in its pixels."""

    pixels: Plane
    boxes: NDArray[np.float64]


def write_phantom(
    folder: Path, patients: int = 60, seed: int = 1, size: int = 320, table: bool = False, test: bool = False
) -> Path:
    """Write the films and label files of a phantom.

    Args:
        folder: where to; made where it is missing.
        patients: how many patients; 50 make 88 films.
        seed: the same seed gives the same bytes.
        size: the largest film's longer side in pixels.
        table: also write ``train_meta.csv``, which maps studies to patients.
        test: write a test set: ``test/`` and no label files.

    Returns:
        The folder.
    """
    part = "test" if test else "train"
    image_rows: list[dict[str, str]] = []
    study_rows: list[dict[str, str]] = []
    meta_rows: list[dict[str, str]] = []
    for study in _studies(Phantom(patients, seed, size)):
        study_id = _id("study", seed, study.number)
        shown = [str(int(name == study.study_class)) for name in STUDY_CLASSES]
        study_rows.append({"id": f"{study_id}_study", **dict(zip(STUDY_COLUMNS, shown, strict=True))})
        for sibling in range(study.films):
            number = len(image_rows)
            identity = Identity(study.patient, study_id, _id("series", seed, number), _id("image", seed, number))
            quirks = Quirks.of(number)
            film = _film(study, sibling, size, PADDING if quirks.padded else 0, _rng(seed, 3, number))
            path = folder / part / study_id / identity.series / f"{identity.image}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_dicom(path, film.pixels, identity, quirks)
            image_rows.append(_image_row(identity, film.boxes))
            meta_rows.append({"patientid": study.patient, "studyid": study_id, "imageid": identity.image})
    if not test:
        _write_csv(folder / "train_image_level.csv", image_rows)
        _write_csv(folder / "train_study_level.csv", study_rows)
    if table:
        _write_csv(folder / f"{part}_meta.csv", meta_rows)
    return folder


def _studies(phantom: Phantom) -> list[Study]:
    """All studies. The last is the first one's twin under another patient; one of them was badly centred."""
    studies: list[Study] = []
    order = _rng(phantom.seed, 0)
    classes: list[str] = []
    for patient in range(phantom.patients):
        chest = Chest.of(_rng(phantom.seed, 1, patient))
        for _ in range(STUDIES[patient % len(STUDIES)]):
            number = len(studies)
            classes = classes or [MIX[n] for n in order.permutation(len(MIX))]
            study_class = classes.pop()
            rng = _rng(phantom.seed, 2, number)
            pose = Pose.of(rng)
            films = 2 if number % SIBLINGS == SIBLINGS - 1 else 1
            shades = opacities(study_class, chest, pose, rng)
            name = _id("patient", phantom.seed, patient)
            ratio = rng.uniform(0.82, 1.2)
            studies.append(Study(number, study_class, name, chest, pose, shades, ratio, films))
    off_centre = next((study for study in studies[:-1] if study.study_class == "typical"), None)
    if off_centre:
        studies[off_centre.number] = replace(off_centre, pose=_beyond_the_edge(off_centre))
    last = studies[-1]
    studies[-1] = replace(studies[0], number=last.number, patient=last.patient, films=1)
    return studies


def _beyond_the_edge(study: Study) -> Pose:
    """A pose so far to the left that the leftmost opacity ends just outside the film."""
    rim = min(opacity.x - opacity.width for opacity in study.opacities)
    return replace(study.pose, dx=-0.5 - (rim - 0.5) * study.pose.zoom - 0.01, tilt=0)


def _film(study: Study, sibling: int, size: int, padding: int, rng: np.random.Generator) -> Film:
    """Draw one film of a study; of several, only the first carries the boxes.

    The chest is drawn with a margin and then cut to the film, so a box knows how far it reaches beyond the edge.
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
    return Film(np.pad(film, ((0, 0), (padding, padding))), shown)


def _image_row(identity: Identity, boxes: NDArray[np.float64]) -> dict[str, str]:
    """A row of ``train_image_level.csv``, boxes twice as in the competition."""
    listed = [
        {"x": float(xmin), "y": float(ymin), "width": float(xmax - xmin), "height": float(ymax - ymin)}
        for xmin, ymin, xmax, ymax in boxes
    ]
    label = " ".join(f"opacity 1 {' '.join(f'{side:.5f}' for side in box)}" for box in boxes)
    return {
        "id": f"{identity.image}_image",
        "boxes": str(listed) if listed else "",
        "label": label or "none 1 0 0 1 1",
        "StudyInstanceUID": identity.study,
    }


def _write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: list(row.values())))


def _id(kind: str, seed: int, number: int) -> str:
    """Twelve hex digits, as the competition's ids are."""
    return hashlib.sha256(f"{kind} {seed} {number}".encode()).hexdigest()[:12]


def _rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)
