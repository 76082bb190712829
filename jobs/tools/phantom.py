"""``python -m jobs phantom``: write synthetic films in the competition's layout."""

from pathlib import Path

from jobs.films.phantom.files import write_phantom
from jobs.runtime.failures.disk import room_in


def write_films(folder: Path, patients: int, seed: int) -> None:
    """Write a synthetic training set and its label files into a folder; the same seed gives the same bytes."""
    with room_in(folder):
        write_phantom(folder, patients=patients, seed=seed)
