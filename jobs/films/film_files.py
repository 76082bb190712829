"""The competition's layout of films: ``<study>/<series>/<image>.dcm``."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from jobs.contract.exits import BadInput
from jobs.films.problems import refuse

TRAIN: Final = "train/"
TEST: Final = "test/"
SUFFIX: Final = ".dcm"
LAYOUT: Final = "<study>/<series>/<image>.dcm, in train/ or test/ or directly in the source"


@dataclass(frozen=True)
class FilmFile:
    """A film's file, before it is read."""

    image: str
    study: str
    series: str
    path: str  # within the source
    fingerprint: str  # changes with the file's content


def choose_films(name: str, files: Iterable[tuple[str, str]], test: bool) -> list[FilmFile]:
    """Return the films of the training or the test set among a source's files, sorted by image.

    Args:
        name: the source's name, for messages.
        files: path and fingerprint of each.
        test: whether to choose the test set.

    Raises:
        BadInput: there are none, a film is outside the expected layout, or an image appears twice.
    """
    part, other = (TEST, TRAIN) if test else (TRAIN, TEST)
    everything = [(path, fingerprint) for path, fingerprint in files if path.endswith(SUFFIX)]
    chosen = [film for film in everything if film[0].startswith(part)]
    chosen = chosen or [film for film in everything if not film[0].startswith(other)]
    if test and not chosen:  # another hospital's films in the layout of a training set
        part, chosen = TRAIN, everything
    if not chosen:
        raise BadInput(f"{name} has no films: put them at {LAYOUT}.")
    return sorted(_parse(name, part, chosen), key=lambda film: film.image)


def _parse(name: str, part: str, files: list[tuple[str, str]]) -> list[FilmFile]:
    films: dict[str, FilmFile] = {}
    problems = []
    for path, fingerprint in files:
        parts = PurePosixPath(path.removeprefix(part)).parts
        if len(parts) != 3:
            problems.append(f"{path} is not at {LAYOUT}")
            continue
        if not path.isprintable():  # also false for names that are not UTF-8
            problems.append(f"{path!a} has characters that cannot be printed, or is not UTF-8")
            continue
        film = FilmFile(parts[2].removesuffix(SUFFIX), parts[0], parts[1], path, fingerprint)
        if film.image in films:
            problems.append(f"{path}: the image appears twice, also at {films[film.image].path}")
        films[film.image] = film
    refuse(f"The films in {name}", problems, "Move each film to its place and give it a unique name.")
    return list(films.values())
