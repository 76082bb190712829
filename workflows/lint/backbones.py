"""What timm knows of each backbone, from ``backbones.tsv``, which ``make golden`` writes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("backbones.tsv")


@dataclass(frozen=True)
class Backbone:
    """A model of timm.

    Attributes:
        strides: of the feature maps that an auxiliary head can use.
        drops_paths: whether it has residual paths that ``drop_path`` can drop.
    """

    strides: tuple[int, ...]
    drops_paths: bool

    @classmethod
    def parse(cls, cells: list[str]) -> "Backbone":
        """Read the cells after the name."""
        strides, drops = cells
        return cls(tuple(int(stride) for stride in strides.split(",") if stride != "-"), drops == "drop_path")

    def line(self, name: str) -> str:
        """The line of the file."""
        strides = ",".join(map(str, self.strides)) or "-"
        return f"{name}\t{strides}\t{'drop_path' if self.drops_paths else '-'}"


def version() -> str:
    """The version of timm that the file was written with."""
    return FILE.read_text(encoding="utf-8").splitlines()[0].removeprefix("# timm ")


def backbones() -> dict[str, Backbone]:
    """Return every model of timm by its architecture's name."""
    rows = (line.split("\t") for line in FILE.read_text(encoding="utf-8").splitlines()[1:])
    return {name: Backbone.parse(cells) for name, *cells in rows}
