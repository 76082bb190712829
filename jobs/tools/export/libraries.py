"""The libraries that an export needs, with all that they need in turn, as they are installed and locked here."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK: Final = "requirements/dev.txt"
_PIN: Final = re.compile(r"(?P<name>[\w.-]+)==(?P<version>\S+)(?P<marker>[^\\]*)(?P<hashes>(?:\\\n +--hash=\S+ *)*)")


@dataclass(frozen=True)
class Library:
    """A library at one version.

    Attributes:
        name: its normalised name.
        version: without a build's local part.
        marker: `` ; `` and the platform that needs it; empty if all do, or the lock has another version.
        hashes: of its files, as pip's options; empty if the lock has another version.
    """

    name: str
    version: str
    marker: str = ""
    hashes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}=={self.version}{self.marker}"


def needed_libraries(names: Iterable[str], lock: Path) -> list[Library]:
    """Return libraries and all that they need, at the versions installed here, sorted by name.

    A requirement that is not installed is left out: requirements/overrides.txt drops some on purpose.

    Args:
        names: distributions.
        lock: the lock file, which adds markers and hashes.
    """
    text = lock.read_text() if lock.is_file() else ""
    locked = {(pin["name"], pin["version"]): pin for pin in _PIN.finditer(text)}
    libraries = []
    for name in sorted(_closure(names)):
        version = metadata.version(name).partition("+")[0]
        pin = locked.get((name, version))
        # Conditions on Python tell versions of the lock apart; the export names one.
        marker = f" {pin['marker'].strip()}" if pin and "platform" in pin["marker"] else ""
        hashes = tuple(re.findall(r"--hash=\S+", pin["hashes"])) if pin else ()
        libraries.append(Library(name, version, marker, hashes))
    return libraries


def _closure(names: Iterable[str]) -> set[str]:
    """Return normalised names of distributions and of all installed ones that they require in this environment."""
    todo = [(canonicalize_name(name), "") for name in names]
    done: set[tuple[str, str]] = set()
    while todo:
        name, extra = todo.pop()
        if (name, extra) in done:
            continue
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        done.add((name, extra))
        for requirement in map(Requirement, required):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                todo += [(canonicalize_name(requirement.name), other) for other in ("", *requirement.extras)]
    return {name for name, _ in done}
