"""The source of films: an S3 prefix, a folder, or ``phantom:patients=60,seed=1,size=320``, which prepare draws."""

import re
from dataclasses import dataclass
from typing import Final, Self

from jobs.contract.exits import BadInput
from jobs.contract.s3_url import split_url

PREFIX: Final = "phantom:"
VERSION: Final = 2  # raised where the same seed begins to give other files


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


def check_source(source: str) -> str:
    """Return a source that prepare can open, as far as its text tells; whether a folder exists it does not say.

    Raises:
        BadInput: it has another scheme than ``s3://``, no bucket, or a phantom's keys or numbers are not valid.
    """
    if source.startswith(PREFIX):
        Phantom.parse(source)
    elif source.startswith("s3://"):
        split_url(source)
    elif re.match(r"^[a-z0-9+]{2,}://", source):
        raise BadInput(f"{source!r}: write s3://bucket/prefix, a folder, or {PREFIX}patients=60,seed=1")
    return source
