"""The source ``phantom:patients=60,seed=1,size=320``: its keys, defaults and limits."""

from dataclasses import dataclass
from typing import Final, Self

from jobs.contract.exits import BadInput

PREFIX: Final = "phantom:"
VERSION: Final = 1  # raised where the same seed begins to give other films


@dataclass(frozen=True)
class Phantom:
    """What ``phantom:patients=60,seed=1,size=320`` asks for."""

    patients: int = 60
    seed: int = 1
    size: int = 320  # the largest film's longer side in pixels; the smallest's is half of it

    @classmethod
    def parse(cls, source: str) -> Self:
        """Read a source.

        Raises:
            BadInput: an unknown key, no number, or a number that makes no films.
        """
        values: dict[str, int] = {}
        for part in filter(None, source.removeprefix(PREFIX).split(",")):
            key, _, value = part.partition("=")
            if key not in cls.__dataclass_fields__:
                raise BadInput(f"{source!r}: no key {key!r}; a phantom has {', '.join(cls.__dataclass_fields__)}")
            if not value.isdecimal():
                raise BadInput(f"{source!r}: {key} must be a whole number, not {value!r}")
            values[key] = int(value)
        phantom = cls(**values)
        if phantom.patients < 2 or phantom.size < 96:
            raise BadInput(f"{source!r}: a phantom needs at least 2 patients and films of at least 96 pixels")
        return phantom

    def __str__(self) -> str:
        return f"{PREFIX}patients={self.patients},seed={self.seed},size={self.size}"
