"""Where films come from: a folder, an S3 prefix, or the phantom. All three look alike to prepare."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Final

from jobs.contract.digest import digest
from jobs.contract.exits import BadInput
from jobs.films.phantom.files import write_phantom
from jobs.films.phantom.source import PREFIX, VERSION, Phantom
from jobs.films.problems import refuse
from jobs.runtime.store import Missing, Store

TRAIN: Final = "train/"
TEST: Final = "test/"
LAYOUT: Final = "<study>/<series>/<image>.dcm, in train/ or test/ or right in the source"


@dataclass(frozen=True)
class FilmFile:
    """A film's file before it is read."""

    image: str
    study: str
    series: str
    place: str  # path or key within the source
    mark: str  # changes when the file does


class Source(ABC):
    """Films and tables under one root."""

    name: str

    @abstractmethod
    def listing(self) -> Iterable[tuple[str, str]]:
        """Place and mark of every file."""

    @abstractmethod
    def table(self, place: str) -> Path | None:
        """A local copy of a CSV file, None where there is none."""

    @abstractmethod
    def fetch(self, film: FilmFile) -> Path:
        """A film as a file on this machine, until it is released. Threads may call this at once."""

    @abstractmethod
    def release(self, path: Path) -> None:
        """A fetched film is not needed any more."""

    def films(self, test: bool) -> list[FilmFile]:
        """The films of the training or the test set, sorted by image.

        Raises:
            BadInput: there are none, a film does not lie where it should, or an image is there twice.
        """
        part, other = (TEST, TRAIN) if test else (TRAIN, TEST)
        everything = [(place, mark) for place, mark in self.listing() if place.endswith(".dcm")]
        chosen = [film for film in everything if film[0].startswith(part)]
        chosen = chosen or [film for film in everything if not film[0].startswith(other)]
        if not chosen:
            raise BadInput(f"{self.name} has no films; they must lie at {LAYOUT}.")
        return sorted(_parse(self.name, part, chosen), key=lambda film: film.image)


def _parse(name: str, part: str, files: list[tuple[str, str]]) -> list[FilmFile]:
    films: dict[str, FilmFile] = {}
    problems = []
    for place, mark in files:
        parts = PurePosixPath(place.removeprefix(part)).parts
        if len(parts) != 3:
            problems.append(f"{place} does not lie at {LAYOUT}")
            continue
        film = FilmFile(parts[2].removesuffix(".dcm"), parts[0], parts[1], place, mark)
        if film.image in films:
            problems.append(f"{place}: the image is there twice, also at {films[film.image].place}")
        films[film.image] = film
    refuse(f"The films in {name}", problems, "Give each film its place and a name of its own.")
    return list(films.values())


class Folder(Source):
    """A folder on this machine."""

    def __init__(self, root: Path, name: str | None = None, mark: str | None = None) -> None:
        """Open it.

        Args:
            root: the folder.
            name: what messages call it, if not its path.
            mark: what stands for the content of all its files; their sizes and times of change where not given.

        Raises:
            BadInput: there is no such folder.
        """
        if not root.is_dir():
            raise BadInput(f"data.source: there is no folder {root}.")
        self.root, self.name, self._mark = root, name or str(root), mark

    def listing(self) -> Iterator[tuple[str, str]]:
        """Place and mark of every DICOM file."""
        for path in self.root.rglob("*.dcm"):
            state = path.stat()
            mark = self._mark or f"{state.st_size} {state.st_mtime_ns}"
            yield path.relative_to(self.root).as_posix(), mark

    def table(self, place: str) -> Path | None:
        """The file itself."""
        path = self.root / place
        return path if path.is_file() else None

    def fetch(self, film: FilmFile) -> Path:
        """The file itself."""
        return self.root / film.place

    def release(self, path: Path) -> None:
        """The file stays."""


class Bucket(Source):
    """A prefix of an S3 bucket."""

    def __init__(self, store: Store, scratch: Path) -> None:
        """Open it; ``scratch`` takes the films for the short time until they are decoded."""
        self.store, self.scratch, self.name = store, scratch, store.url

    def listing(self) -> Iterator[tuple[str, str]]:
        """Place and mark of every object."""
        return ((entry.key, f"{entry.size} {entry.etag}") for entry in self.store.list())

    def table(self, place: str) -> Path | None:
        """A downloaded copy."""
        try:
            return self.store.download(place, self.scratch / "tables" / place)
        except Missing:
            return None

    def fetch(self, film: FilmFile) -> Path:
        """A downloaded copy."""
        try:
            return self.store.download(film.place, self.scratch / "films" / f"{film.image}.dcm")
        except Missing as error:
            raise BadInput(f"{self.name}/{film.place} went away while films were read; run again.") from error

    def release(self, path: Path) -> None:
        """Remove the copy."""
        path.unlink()


def open_source(source: str, cache: Path, scratch: Path, test: bool) -> Source:
    """Open what ``data.source`` names.

    Args:
        source: ``s3://bucket/prefix``, a folder, or ``phantom:patients=60,seed=1``.
        cache: where a phantom is kept for the next time.
        scratch: where films from S3 lie until they are decoded.
        test: whether a phantom is a test set.

    Raises:
        BadInput: there is no such source.
    """
    if source.startswith(PREFIX):
        return _phantom(Phantom.parse(source), cache, test)
    if source.startswith("s3://"):
        return Bucket(Store.beside(source), scratch)
    if re.match(r"^[a-z0-9+]{2,}://", source):
        raise BadInput(f"data.source {source!r}: write s3://bucket/prefix, a folder, or {PREFIX}patients=60,seed=1.")
    return Folder(Path(source))


def _phantom(phantom: Phantom, cache: Path, test: bool) -> Folder:
    """The phantom's films, drawn once a machine. A half-drawn set never has the final name."""
    mark = f"{phantom} version {VERSION}"
    root = cache / f"phantom-{'test' if test else 'train'}-{digest(mark)[:16]}"
    if not root.exists():
        with TemporaryDirectory(dir=cache) as folder:
            drawn = write_phantom(Path(folder) / "films", phantom.patients, phantom.seed, phantom.size, test=test)
            try:
                drawn.rename(root)
            except OSError:
                if not root.exists():  # another process was not faster: the disk is to blame
                    raise
    return Folder(root, str(phantom), mark)
