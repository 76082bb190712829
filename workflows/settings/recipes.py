"""The experiments that ship with the pipeline, a line each: read without validation, so a listing takes no time."""

from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

EXPERIMENTS = Path(__file__).parents[1] / "experiments"

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Recipe:
    """An experiment's name and what it says of itself."""

    name: str
    title: str
    remark: str

    def as_json(self) -> dict[str, str]:
        """For programs."""
        return asdict(self)


def names() -> list[str]:
    """The names of all recipes."""
    return sorted(file.stem for file in EXPERIMENTS.glob("*.yaml"))


def recipes() -> list[Recipe]:
    """All recipes by name."""
    found = []
    for name in names():
        content = yaml.load((EXPERIMENTS / f"{name}.yaml").read_bytes(), _Loader)  # noqa: S506 (a safe loader)
        found.append(Recipe(name, content.get("title", ""), content.get("remark", "")))
    return found
