"""``python -m jobs predict-films``: a run's answer about a few films, as pictures and JSON."""

import json
import sys
import tempfile
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pandas as pd
import torch

from jobs.contract.exits import BadInput, Exit
from jobs.contract.experiment import Classifier, Experiment
from jobs.films.loose import PackedFilms, find_films, pack_films
from jobs.nets.classifier.heat_map import Heat, heat_map
from jobs.nets.classifier.net import ClassifierNet
from jobs.nets.trained import load_nets, predict_films
from jobs.runtime.machine import cpus
from jobs.runtime.store import Store
from jobs.runtime.work import fetch
from jobs.tools.predict_films.answers import FilmAnswer, answers
from jobs.tools.predict_films.picture import draw, shown_boxes
from jobs.tools.run_weights import find_weights

SHOWN: Final = 1024  # longest side of a film in its picture, pixels


@dataclass(frozen=True)
class Predicted:
    """What all nets of a run say of some films.

    Attributes:
        tables: model → fold → table.
        heat: a heat map (S, S) per film, the mean over nets; None if the run has no classifier.
    """

    tables: dict[str, dict[int, pd.DataFrame]]
    heat: list[Heat] | None


def predict(
    paths: Sequence[Path], run: str, to: Path, cache: Path | None, *, as_json: bool, open_picture: bool
) -> Exit:
    """Predict films with all nets of a run; write a picture and a JSON file per film.

    Args:
        paths: DICOM files, and folders of them in any layout.
        run: the run in the environment's store.
        to: the folder for pictures and JSON files.
        cache: keeps downloaded weights; a temporary folder if not given.
        as_json: print the answers as JSON instead of a line per film.
        open_picture: show the picture; of several films, the folder.

    Returns:
        DONE; BAD_INPUT if a file was skipped.

    Raises:
        BadInput: no file is a film, or the run has no weights.
    """
    files, problems = find_films(paths)
    store = Store.from_environment()
    weights = find_weights(store, run)
    to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        sizes = {weights.experiment.models[model].inference_size for model in weights.outputs}
        films = pack_films(files, sorted({*sizes, SHOWN}), Path(folder), cpus(), lambda: None)
        problems += films.problems
        for problem in problems:
            print(f"skipped: {problem}", file=sys.stderr)
        if films.index.empty:
            raise BadInput("None of these files is a film that can be read: name DICOM files, or folders of them.")
        local = {
            model: {fold: fetch(store, output, cache or Path(folder) / "weights") for fold, output in of_folds.items()}
            for model, of_folds in weights.outputs.items()
        }
        predicted = predict_all(weights.experiment, local, films)
        found = answers(films.index, weights.experiment, predicted.tables, weights.folds)
        pictures = _write(to, found, films, predicted.heat)
    _print(found, pictures, as_json=as_json)
    if open_picture:
        webbrowser.open((pictures[0] if len(pictures) == 1 else to).absolute().as_uri())
    return Exit.BAD_INPUT if problems else Exit.DONE


def predict_all(experiment: Experiment, weights: Mapping[str, Mapping[int, Path]], films: PackedFilms) -> Predicted:
    """Predict films with every net, loading each once.

    Args:
        experiment: the run's.
        weights: model → fold → weights file.
        films: packed at every inference size.
    """
    torch.set_num_threads(cpus())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tables: dict[str, dict[int, pd.DataFrame]] = {}
    mapping = _mapping_models(experiment)
    maps: list[list[Heat]] = []
    for name, of_folds in weights.items():
        model = experiment.models[name]
        tables[name] = {}
        for fold, net in load_nets(model, of_folds, device):
            tables[name][fold] = predict_films(net, model, device, films, lambda _: None)
            if isinstance(net, ClassifierNet) and name in mapping:
                pack = films.pack(model.inference_size)
                maps.append([heat_map(net, mapping[name], pack[row], device) for row in range(len(films.index))])
    return Predicted(tables, [_mean(of_film) for of_film in zip(*maps, strict=True)] if maps else None)


def _mapping_models(experiment: Experiment) -> dict[str, Classifier]:
    """Return the classifiers whose heat maps are shown: those with an auxiliary head, else all."""
    classifiers = {name: model for name, model in experiment.classifiers.items() if name in experiment.voters}
    return {name: model for name, model in classifiers.items() if model.aux} or classifiers


def _mean(maps: Sequence[Heat]) -> Heat:
    """Return the mean of square maps of one film, at the largest of their sizes."""
    size = max(len(heat) for heat in maps)
    same = [cv2.resize(heat, (size, size), interpolation=cv2.INTER_LINEAR) for heat in maps]
    return np.asarray(np.mean(same, axis=0), np.float32)


def _write(to: Path, found: Sequence[FilmAnswer], films: PackedFilms, heat: Sequence[Heat] | None) -> list[Path]:
    """Write a picture and a JSON file per film; returns the pictures."""
    squares, pictures = films.pack(SHOWN), []
    taken: dict[str, int] = {}
    for row, answer in enumerate(found):
        stem = Path(answer.film).stem
        taken[stem] = taken.get(stem, 0) + 1
        name = stem if taken[stem] == 1 else f"{stem}-{taken[stem]}"
        pictures.append(to / f"{name}.png")
        draw(pictures[-1], answer, squares[row], heat[row] if heat else None)
        (to / f"{name}.json").write_text(json.dumps(_json(answer, pictures[-1]), indent=1))
    return pictures


def _print(found: Sequence[FilmAnswer], pictures: Sequence[Path], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([_json(*pair) for pair in zip(found, pictures, strict=True)], indent=1))
        return
    for answer, picture in zip(found, pictures, strict=True):
        print(f"{answer.film}: {', '.join(_sentence(answer))}; {picture}")


def _json(answer: FilmAnswer, picture: Path) -> dict[str, object]:
    return {**asdict(answer), "picture": str(picture)}


def _sentence(answer: FilmAnswer) -> list[str]:
    parts = []
    if answer.classes:
        ranked = sorted(answer.classes.items(), key=lambda item: -item[1].probability)
        name, spread = ranked[0]
        parts.append(f"{name} {spread.probability:.2f} (folds {spread.low:.2f} to {spread.high:.2f})")
    parts.append(f"none {answer.none.probability:.2f}")
    if answer.boxes is None:
        parts.append("no boxes: the run has no detector")
    else:
        shown = shown_boxes(answer)
        parts.append(f"{len(shown)} boxes" + (f", the best {shown[0].confidence:.2f}" if shown else ""))
    return parts
