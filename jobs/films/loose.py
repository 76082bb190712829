"""Films from files in any place, decoded and packed for prediction on this machine, without a store."""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jobs.films.dataset import SHARD, Pack, save_array, shard_name
from jobs.films.dicom.decoding import Decoded, DecodeRequest, decode, windowed
from jobs.films.dicom.tags import HEAD, has_magic, read_tags
from jobs.films.film_files import SUFFIX


@dataclass(frozen=True)
class LooseFilm:
    """A film's file. The study's films share one answer of the study classes."""

    path: Path
    image: str
    study: str

    @property
    def fingerprint(self) -> str:
        """Changes with the file."""
        state = self.path.stat()
        return f"{self.path} {state.st_size} {state.st_mtime_ns}"


@dataclass(frozen=True)
class PackedFilms:
    """Decoded films in a folder.

    Attributes:
        index: one row per film: ``image``, ``study``, ``width``, ``height``.
        folder: holds ``pack-<size>/shard-<n>.npy``, as a dataset does.
        problems: a sentence for each film that could not be read; it is not in the index.
    """

    index: pd.DataFrame
    folder: Path
    problems: tuple[str, ...]

    def pack(self, size: int) -> Pack:
        """Return all films at a size in pixels."""
        return Pack(size, sorted((self.folder / f"pack-{size}").glob("shard-*.npy")))


def find_films(paths: Iterable[Path]) -> tuple[list[LooseFilm], list[str]]:
    """Find the films among files and folders, sorted by file name as a dataset sorts them.

    A folder's files count as films if they end in ``.dcm`` or have DICOM's magic word. A film belongs to the study that
    its file names; a file that names none is a study of its own. ``image`` is the path.

    Returns:
        The films, and a sentence for each path that has none.
    """
    files: dict[Path, None] = {}
    problems = []
    for path in paths:
        if path.is_dir():
            found = [file for file in sorted(path.rglob("*")) if file.is_file() and _is_film(file)]
            problems += [] if found else [f"{path} has no DICOM files"]
            files |= dict.fromkeys(found)
        elif path.is_file():
            files[path] = None
        else:
            problems.append(f"{path} does not exist")
    ordered = sorted(files, key=lambda file: (file.stem, str(file)))
    return [LooseFilm(file, str(file), _study(file) or str(file)) for file in ordered], problems


def pack_films(
    films: Sequence[LooseFilm], sizes: Sequence[int], folder: Path, threads: int, after_film: Callable[[], None]
) -> PackedFilms:
    """Decode films and letterbox them to some sizes. Shards that an earlier call finished are kept.

    Args:
        films: the films, in the order of the index.
        sizes: pixels a side.
        folder: holds the packs, and per shard the record of what it was made from.
        threads: films that are decoded at once.
        after_film: called after each film.
    """
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    for number, start in enumerate(range(0, len(films), SHARD)):
        part = films[start : start + SHARD]
        record = folder / f"shard-{number:03d}.json"
        made_from = {"films": [film.fingerprint for film in part], "sizes": list(sizes)}
        shard = json.loads(record.read_text()) if record.is_file() else {}
        if shard.get("made_from") != made_from:
            decoded = _decode(part, sizes, threads, after_film)
            shard = {"made_from": made_from, **_save_shard(part, decoded, sizes, folder, number)}
            _write_whole(record, json.dumps(shard))
        rows += shard["rows"]
        problems += shard["problems"]
    index = pd.DataFrame(rows, columns=["image", "study", "width", "height"])
    return PackedFilms(index, folder, tuple(problems))


def _decode(
    films: Sequence[LooseFilm], sizes: Sequence[int], threads: int, after_film: Callable[[], None]
) -> list[Decoded]:
    """Decode a shard's films in threads: OpenCV and the codecs release the interpreter's lock."""
    requests = [DecodeRequest(film.path, str(film.path), tuple(sizes)) for film in films]
    decoded = []
    with ThreadPoolExecutor(threads) as pool:
        for film in windowed(pool, decode, requests, 2 * threads):
            decoded.append(film)
            after_film()
    return decoded


def _save_shard(
    films: Sequence[LooseFilm], decoded: Sequence[Decoded], sizes: Sequence[int], folder: Path, number: int
) -> dict[str, Any]:
    rows = [
        {"image": film.image, "study": film.study, "width": one.facts.width, "height": one.facts.height}
        for film, one in zip(films, decoded, strict=True)
        if one.facts
    ]
    for size in sizes:
        squares = [one.squares[size] for one in decoded if one.squares]
        path = folder / f"pack-{size}" / shard_name(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_array(path, np.stack(squares) if squares else np.empty((0, size, size), np.uint8))
    return {"rows": rows, "problems": [one.problem for one in decoded if one.problem]}


def _write_whole(path: Path, text: str) -> None:
    """Write a file that appears only when complete."""
    partial_file = path.with_suffix(".partial")
    partial_file.write_text(text)
    partial_file.replace(path)


def _is_film(path: Path) -> bool:
    if path.suffix.lower() == SUFFIX:
        return True
    with path.open("rb") as file:
        return has_magic(file.read(132))


def _study(path: Path) -> str | None:
    """Return the StudyInstanceUID; None if the file has none or is no DICOM file; decoding then says what is wrong."""
    try:
        with path.open("rb") as file:
            return read_tags(file.read(HEAD), path.read_bytes).get("StudyInstanceUID")
    except (OSError, ValueError):
        return None
