"""What a labelled test set shares with the films that nets were trained on."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from jobs.contract.names import first_names

OVERLAP: Final = "overlap.json"
REMEDY: Final = (
    "Their scores would be too good. --overlap drop predicts them and leaves them out of the scores. If two hospitals "
    "merely use the same patient ids, name the patients of these films in a table (--set data.patients=FILE)."
)
SHOWN: Final = 3


@dataclass(frozen=True)
class SharedFilms:
    """The patients and films of a test set that training has seen.

    Attributes:
        run: the run that was trained.
        patients: patients whose other films it was trained on.
        duplicates: image, image of the training set, and the correlation of their pixels.
        left_out: the images of these patients, and of those that share a patient or a film with them.
    """

    run: str
    patients: list[str]
    duplicates: list[tuple[str, str, float]]
    left_out: list[str]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a stored overlap."""
        return cls(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        """Store it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1))

    def sentence(self) -> str:
        """Return what was found, as a sentence."""
        parts = []
        if self.patients:
            parts.append(f"{len(self.patients):,} of these patients ({first_names(self.patients, SHOWN)})")
        if self.duplicates:
            pairs = [f"{one} as {other}" for one, other, _ in self.duplicates]
            parts.append(f"{len(pairs):,} of these films or near-duplicates ({first_names(pairs, SHOWN)})")
        return f"run {self.run} was trained on {' and '.join(parts)}, which concerns {_count(self.left_out, 'film')}."


def _count(names: Sequence[str], what: str) -> str:
    return f"{len(names):,} {what}{'s' if len(names) != 1 else ''}"
