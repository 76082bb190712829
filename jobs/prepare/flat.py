"""A test set as a flat folder of DICOM files: a film is named by its file, its study and series by its tags."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Final

from jobs.films.dicom.tags import HEAD, has_magic, read_tags
from jobs.films.film_files import SUFFIX, FilmFile
from jobs.films.problems import refuse

THREADS: Final = 16  # headers read at once


def may_be_film(path: str) -> bool:
    """Return whether a file lies directly in the source. Many archives name films without a suffix."""
    return "/" not in path and not path.startswith(".")


def flat_films(name: str, files: Iterable[tuple[str, str]], read: Callable[[str, int | None], bytes]) -> list[FilmFile]:
    """Return the films of a flat folder, sorted by image. A film that names no study is a study of its own.

    Args:
        name: the source's name, for messages.
        files: path and fingerprint of the files that :func:`may_be_film`.
        read: returns the first bytes of a path, as many as given, or with None all of it.

    Raises:
        BadInput: a file ending in .dcm is not a DICOM file, or an image appears twice.
    """

    def film(file: tuple[str, str]) -> FilmFile | str | None:
        """Return the film, a problem, or None for a file of another suffix that is no DICOM file."""
        path, fingerprint = file
        head = read(path, HEAD)
        named = PurePosixPath(path).suffix.lower() == SUFFIX
        if not has_magic(head):
            return f"{path} is not a DICOM file" if named else None
        if not path.isprintable():  # also false for names that are not UTF-8
            return f"{path!a} has characters that cannot be printed, or is not UTF-8"
        try:
            tags = read_tags(head, lambda: read(path, None))
        except ValueError as error:
            return f"{path} has a damaged header ({error})"
        image = PurePosixPath(path).stem if named else path
        study, series = (tags.get(f"{kind}InstanceUID", image) for kind in ("Study", "Series"))
        return FilmFile(image, study, series, path, fingerprint)

    with ThreadPoolExecutor(THREADS) as pool:
        read_files = list(pool.map(film, files))
    problems = [problem for problem in read_files if isinstance(problem, str)]
    films: dict[str, FilmFile] = {}
    for one in read_files:
        if isinstance(one, FilmFile):
            if one.image in films:
                problems.append(f"{one.path}: the image appears twice, also at {films[one.image].path}")
            films[one.image] = one
    refuse(f"The films in {name}", problems, "Replace or remove these files, and give each film a unique name.")
    return sorted(films.values(), key=lambda one: one.image)
