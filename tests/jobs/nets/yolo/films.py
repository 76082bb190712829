"""A tiny packed dataset that a tiny YOLO learns in seconds: noise with one bright rectangle, or none."""

from pathlib import Path

import numpy as np
import pandas as pd

from jobs.contract.experiment import Detector
from jobs.films.dataset import FILMS, SCHEMA, Dataset, films_json, index_bytes, shard_name
from jobs.films.letterbox import Letterbox

TINY = Detector(
    model="yolov8n", width=0.125, size=64, epochs=3, batch=4, warmup=1.0, mosaic=0.5, mixup=0.3, close_mosaic=1
)


def write_films(folder: Path, count: int = 12, folds: int = 3, sizes: tuple[int, ...] = (64,)) -> Dataset:
    """Write index and packs; every fourth film has no box, film 4 though its sibling has; sizes and shapes vary."""
    rng = np.random.default_rng(5)
    films, rows = [], []
    for number in range(count):
        width, height = (int(side) for side in rng.integers(120, 200, 2))
        film = rng.integers(20, 90, (height, width)).astype(np.uint8)
        boxes = []
        if number % 4:
            wide, high = (int(side) for side in rng.integers(40, 60, 2))
            left, top = int(rng.integers(0, width - wide)), int(rng.integers(0, height - high))
            film[top : top + high, left : left + wide] += 140
            boxes = [[float(left), float(top), float(left + wide), float(top + high)]]
        films.append(film)
        rows.append(_row(number, boxes, width, height, number % folds))
    (folder / "index.parquet").write_bytes(index_bytes(pd.DataFrame(rows).reindex(columns=SCHEMA.names)))
    for size in sizes:
        pack = folder / f"pack-{size}"
        pack.mkdir()
        (pack / FILMS).write_text(films_json(sorted(row["image"] for row in rows)))
        squares = [Letterbox(film.shape[1], film.shape[0], size).apply(film) for film in films]
        half = count // 2
        np.save(pack / shard_name(0), np.stack(squares[:half]))
        np.save(pack / shard_name(1), np.stack(squares[half:]))
    return Dataset(folder)


def _row(number: int, boxes: list[list[float]], width: int, height: int, fold: int) -> dict[str, object]:
    name, of_study = f"{number:012x}", 1 if number == 4 else number
    study = f"{of_study:012x}"
    return {
        "image": name, "study": study, "series": name, "patient": study, "group": of_study, "fold": fold,
        "study_class": "typical" if of_study % 4 else "negative", "boxes": boxes, "width": width, "height": height,
    }  # fmt: skip
