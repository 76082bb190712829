"""The tables of a source: labels, patients and split, as local files; and the frozen split that goes with them."""

from dataclasses import dataclass
from pathlib import Path

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Data, ExtraFilms
from jobs.contract.needs.split import FrozenSplit
from jobs.films.labels import IMAGE_FILE, STUDY_FILE, Labels, read_labels
from jobs.prepare.sources import Source


@dataclass(frozen=True)
class Tables:
    """The source's tables as local files; None for those that do not exist."""

    labels: Labels | None  # None where films are not labelled by files
    patients: Path | None
    split: Path | None
    files: list[Path]  # all of them
    frozen: FrozenSplit | None = None  # of the store, not of the source


def tables_of(source: Source, data: Data, test: bool) -> Tables:
    """Return the tables of the run's films.

    Raises:
        BadInput: a table that the experiment names, or that training needs, is missing.
    """
    patients = _named(source, "data.patients", data.patients)
    split = None if test else _named(source, "data.split", data.split)
    labels = _label_files(source)
    if not labels and not test:
        raise BadInput(f"{source.name} has no {STUDY_FILE} and {IMAGE_FILE}; training needs both of them in its root.")
    return _tables(labels, patients, split)


def tables_beside(source: Source, extra: ExtraFilms) -> Tables:
    """Return the tables of films beside the folds.

    Raises:
        BadInput: a table that the entry names is missing, or the label files are where no run labels the films.
    """
    patients = _named(source, "patients", extra.patients)
    labels = [] if extra.labels else _label_files(source)
    if not extra.labels and len(labels) < 2:
        raise BadInput(
            f"{source.name} has no {STUDY_FILE} and {IMAGE_FILE} in its root: put them there, or give labels a run "
            "that predicts them."
        )
    return _tables(labels, patients, None)


def _tables(labels: list[Path], patients: Path | None, split: Path | None) -> Tables:
    files = [path for path in (*labels, patients, split) if path]
    return Tables(read_labels(labels[0].parent) if labels else None, patients, split, files)


def _label_files(source: Source) -> list[Path]:
    return [path for path in map(source.table, (STUDY_FILE, IMAGE_FILE)) if path]


def _named(source: Source, key: str, name: str | None) -> Path | None:
    path = source.table(name) if name else None
    if name and not path:
        raise BadInput(f"{key}: {source.name} has no file {name}.")
    return path
