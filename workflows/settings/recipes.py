"""The experiments that ship with the pipeline, read without validation so that listing them is fast."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from jobs.contract.text_files import read_text
from workflows.settings.tree import load_yaml, shown

EXPERIMENTS: Final = Path(__file__).parents[1] / "experiments"


@dataclass(frozen=True)
class Recipe:
    """The name, title and remark of an experiment."""

    name: str
    title: str
    remark: str

    def as_json(self) -> dict[str, str]:
        """Return the fields as a JSON object."""
        return asdict(self)


def names() -> list[str]:
    """Return the names of all recipes, sorted."""
    return sorted(file.stem for file in EXPERIMENTS.glob("*.yaml"))


def recipes() -> list[Recipe]:
    """Return all recipes, sorted by name."""
    result = []
    for name in names():
        file = EXPERIMENTS / f"{name}.yaml"
        content = load_yaml(read_text(file), shown(file))
        result.append(Recipe(name, content.get("title", ""), content.get("remark", "")))
    return result
