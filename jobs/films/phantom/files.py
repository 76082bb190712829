"""Write a phantom in the competition's layout: ``train/<study>/<series>/<image>.dcm`` and two label files.

The same seed gives the same bytes. The films imitate real archives: patients with several studies, studies with
several films of which only the first has boxes, the encodings of ``dicom_writer``, a box that extends slightly beyond
its film, and a film that occurs twice, under two patients.
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.contract.experiment.source import Phantom
from jobs.contract.names import STUDY_CLASSES, STUDY_COLUMNS
from jobs.films.phantom.dicom_writer import PADDING, Identity, Quirks, write_dicom
from jobs.films.phantom.studies import draw_film, make_studies, phantom_id, random_generator


def write_phantom(
    folder: Path, patients: int = 60, seed: int = 1, size: int = 320, table: bool = False, test: bool = False
) -> Path:
    """Write the films and label files of a phantom.

    Args:
        folder: folder to write to; created if missing.
        patients: number of patients; 50 give 88 films.
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
    for study in make_studies(Phantom(patients, seed, size)):
        study_id = phantom_id("study", seed, study.number)
        shown = [str(int(name == study.study_class)) for name in STUDY_CLASSES]
        study_rows.append({"id": f"{study_id}_study", **dict(zip(STUDY_COLUMNS, shown, strict=True))})
        for sibling in range(study.films):
            number = len(image_rows)
            series, image = phantom_id("series", seed, number), phantom_id("image", seed, number)
            identity = Identity(study.patient, study_id, series, image, study.sex, study.age, study.manufacturer)
            quirks = Quirks.of(number)
            film = draw_film(study, sibling, size, PADDING if quirks.padded else 0, random_generator(seed, 3, number))
            path = folder / part / study_id / series / f"{image}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_dicom(path, film.pixels, identity, quirks)
            image_rows.append(_image_row(identity, film.boxes))
            meta_rows.append({"patientid": study.patient, "studyid": study_id, "imageid": image})
    if not test:
        _write_csv(folder / "train_image_level.csv", image_rows)
        _write_csv(folder / "train_study_level.csv", study_rows)
    if table:
        _write_csv(folder / f"{part}_meta.csv", meta_rows)
    return folder


def _image_row(identity: Identity, boxes: NDArray[np.float64]) -> dict[str, str]:
    """Return a row of ``train_image_level.csv``, with the boxes in two columns as in the competition."""
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
