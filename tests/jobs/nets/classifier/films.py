"""A tiny packed dataset that a tiny net learns in seconds: a study's class is where its bright square lies."""

from pathlib import Path

import numpy as np
import pandas as pd

from jobs.contract.experiment import Aux, Classifier, LearningStage
from jobs.contract.names import STUDY_CLASSES
from jobs.films.dataset import FILMS, SCHEMA, Dataset, films_json, index_bytes, shard_name
from jobs.films.letterbox import Letterbox
from jobs.films.loader import Films, Siblings
from jobs.nets.classifier.net import create_classifier
from jobs.train_classifier.loop import TrainingInputs

TINY = Classifier(
    backbone="test_efficientnet", size=64, batch=4, stages=(LearningStage(lr=3e-3, epochs=2),), optimizer="adam",
    aux=Aux(layers=2, channels=8),
)  # fmt: skip
SQUARES = {"typical": (15, 15), "indeterminate": (60, 15), "atypical": (15, 50)}  # left, top


def write_films(folder: Path, studies: int = 24, folds: int = 3, sizes: tuple[int, ...] = (64,)) -> Dataset:
    """Write index and packs. Every fifth study has a second film without a box, whatever its class."""
    rng = np.random.default_rng(7)
    films, rows = [], []
    for number in range(studies):
        label = STUDY_CLASSES[(number + number // 4) % 4]
        for sibling in range(2 if number % 5 == 1 else 1):
            film, boxes = rng.integers(20, 120, (90, 100)).astype(np.uint8), []
            if label in SQUARES and not sibling:
                left, top = SQUARES[label]
                film[top : top + 25, left : left + 25] += 120
                boxes = [[float(left), float(top), left + 25.0, top + 25.0]]
            films.append(film)
            study = f"{number:012x}"
            rows.append(
                {
                    "image": f"{number:011x}{sibling}", "study": study, "series": study, "patient": study,
                    "boxes": boxes, "study_class": label, "width": 100, "height": 90, "group": number,
                    "fold": number // 4 % folds,
                }
            )  # fmt: skip
    (folder / "index.parquet").write_bytes(index_bytes(pd.DataFrame(rows).reindex(columns=SCHEMA.names)))
    for size in sizes:
        pack = folder / f"pack-{size}"
        pack.mkdir()
        (pack / FILMS).write_text(films_json(sorted(row["image"] for row in rows)))
        np.save(pack / shard_name(0), np.stack([Letterbox(100, 90, size).apply(film) for film in films]))
    return Dataset(folder)


def training_inputs(
    dataset: Dataset, model: Classifier = TINY, siblings: Siblings = "keep", seed: int = 3
) -> TrainingInputs:
    """What the training of the first fold is made of."""
    index, held_out = dataset.index, dataset.index["fold"].to_numpy() == 0
    training = Films.of(index, ~held_out, model.size, siblings)
    validation = Films.of(index, held_out, model.size)
    return TrainingInputs(
        model=model, seed=seed, pack=dataset.pack(model.size), training=training, validation=validation,
        sample=training.of_studies(8, seed), untrained=lambda: create_classifier(model, seed, None),
    )  # fmt: skip
