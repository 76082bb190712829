"""``python -m jobs phantom``: write synthetic films in the competition's layout."""

from pathlib import Path

from jobs.films.phantom.files import write_phantom


def write_films(folder: Path, patients: int, seed: int) -> None:
    """Write a synthetic training set and its label files into a folder; the same seed gives the same bytes."""
    write_phantom(folder, patients=patients, seed=seed)
