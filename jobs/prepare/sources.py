"""Where films come from: a folder, an S3 prefix or the phantom, behind one interface."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from jobs.contract.exits import BadInput
from jobs.contract.experiment.source import PREFIX, VERSION, Phantom
from jobs.contract.stored.digest import digest
from jobs.films.film_files import SUFFIX, FilmFile, choose_films
from jobs.films.phantom.files import write_phantom
from jobs.films.problems import refuse
from jobs.prepare.flat import flat_films, may_be_film
from jobs.runtime.store import Missing, Store


class Source(ABC):
    """Films and tables under one root."""

    name: str

    @abstractmethod
    def listing(self) -> Iterable[tuple[str, str]]:
        """Return path and fingerprint of every file."""

    @abstractmethod
    def table(self, path: str) -> Path | None:
        """Return a local copy of a CSV file; None where it does not exist."""

    @abstractmethod
    def fetch(self, film: FilmFile) -> Path:
        """Return a film as a local file, which stays until it is released. Thread-safe."""

    @abstractmethod
    def release(self, path: Path) -> None:
        """Release a fetched film."""

    @abstractmethod
    def flat_listing(self) -> Iterable[tuple[str, str]]:
        """Return path and fingerprint of the files directly in the root that may be films."""

    @abstractmethod
    def read(self, path: str, size: int | None) -> bytes:
        """Return the first ``size`` bytes of a file, or with None all of it. Thread-safe."""

    def films(self, test: bool) -> list[FilmFile]:
        """Return the films of the training or the test set, sorted by image. A test set may be a flat folder.

        Raises:
            BadInput: there are none, a film is outside the expected layout, or an image appears twice.
        """
        files = list(self.listing())
        in_folders = any("/" in path for path, _ in files if path.endswith(SUFFIX))
        if test and not in_folders and (films := flat_films(self.name, self.flat_listing(), self.read)):
            return films
        return choose_films(self.name, files, test)


class FolderSource(Source):
    """A folder on this machine."""

    def __init__(self, root: Path, name: str | None = None, fingerprint: str | None = None) -> None:
        """Open a folder.

        Args:
            root: the folder.
            name: its name in messages; its path if not given.
            fingerprint: of all its files; each file's size and modification time if not given.

        Raises:
            BadInput: the folder does not exist.
        """
        if not root.is_dir():
            raise BadInput(f"data.source: the folder {root} does not exist.")
        self.root, self.name, self._fingerprint = root, name or str(root), fingerprint

    def listing(self) -> Iterator[tuple[str, str]]:
        """Return path and fingerprint of every DICOM file.

        Raises:
            BadInput: one is no regular file, e.g. a FIFO, a folder or a link to nothing.
        """
        problems = []
        for path in self.root.rglob("*.dcm"):
            if not path.is_file():
                broken = path.is_symlink() and not path.exists()
                problems.append(f"{path} " + ("is a link to nothing" if broken else "is no regular file"))
                continue
            yield path.relative_to(self.root).as_posix(), self._fingerprint_of(path)
        refuse(f"The films in {self.name}", problems, "Remove or replace what is not a film.")

    def flat_listing(self) -> Iterator[tuple[str, str]]:
        """Return path and fingerprint of the files directly in the folder that may be films."""
        for path in self.root.iterdir():
            if may_be_film(path.name) and path.is_file():
                yield path.name, self._fingerprint_of(path)

    def read(self, path: str, size: int | None) -> bytes:
        """Read the file."""
        with (self.root / path).open("rb") as file:
            return file.read(-1 if size is None else size)

    def _fingerprint_of(self, path: Path) -> str:
        state = path.stat()
        return self._fingerprint or f"{state.st_size} {state.st_mtime_ns}"

    def table(self, path: str) -> Path | None:
        """Return the file itself."""
        file = self.root / path
        return file if file.is_file() else None

    def fetch(self, film: FilmFile) -> Path:
        """Return the file itself."""
        return self.root / film.path

    def release(self, path: Path) -> None:
        """Keep the file."""


class BucketSource(Source):
    """A prefix of an S3 bucket."""

    def __init__(self, store: Store, scratch: Path) -> None:
        """Open a prefix; ``scratch`` holds downloaded films until they are decoded."""
        self.store, self.scratch, self.name = store, scratch, store.url

    def listing(self) -> Iterator[tuple[str, str]]:
        """Return path and fingerprint of every object."""
        return ((entry.key, f"{entry.size} {entry.etag}") for entry in self.store.list())

    def flat_listing(self) -> Iterator[tuple[str, str]]:
        """Return path and fingerprint of the objects directly under the prefix that may be films."""
        return (file for file in self.listing() if may_be_film(file[0]))

    def read(self, path: str, size: int | None) -> bytes:
        """Read the object."""
        return self.store.get(path) if size is None else self.store.head(path, size)

    def table(self, path: str) -> Path | None:
        """Return a downloaded copy."""
        try:
            return self.store.download(path, self.scratch / "tables" / path)
        except Missing:
            return None

    def fetch(self, film: FilmFile) -> Path:
        """Return a downloaded copy."""
        try:
            return self.store.download(film.path, self.scratch / "films" / f"{film.image}.dcm")
        except Missing as error:
            raise BadInput(f"{self.name}/{film.path} was removed while films were read: run again.") from error

    def release(self, path: Path) -> None:
        """Remove the copy."""
        path.unlink()


def open_source(source: str, cache: Path, scratch: Path, test: bool) -> Source:
    """Open what ``data.source`` names.

    Args:
        source: ``s3://bucket/prefix``, a folder, or ``phantom:patients=60,seed=1``.
        cache: keeps a phantom's films for later runs.
        scratch: holds films from S3 until they are decoded.
        test: whether a phantom is a test set.

    Raises:
        BadInput: the source does not exist, or is none of these.
    """
    if source.startswith(PREFIX):
        return _phantom(Phantom.parse(source), cache, test)
    if source.startswith("s3://"):
        return BucketSource(Store.beside(source), scratch)
    return FolderSource(Path(source))


def _phantom(phantom: Phantom, cache: Path, test: bool) -> FolderSource:
    """Return the phantom's films, written once per machine. The folder gets its name only once it is complete."""
    fingerprint = f"{phantom} version {VERSION}"
    root = cache / f"phantom-{'test' if test else 'train'}-{digest(fingerprint)[:16]}"
    if not root.exists():
        with TemporaryDirectory(dir=cache) as folder:
            written = write_phantom(Path(folder) / "films", phantom.patients, phantom.seed, phantom.size, test=test)
            try:
                written.rename(root)
            except OSError:
                if not root.exists():  # another process was not faster: the disk is to blame
                    raise
    return FolderSource(root, str(phantom), fingerprint)
