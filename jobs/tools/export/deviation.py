"""How much an ONNX file may answer differently from its torch net."""

from dataclasses import dataclass
from typing import Final

PROBABILITIES: Final = 1e-4  # greatest difference that is accepted of probabilities and confidences
PIXELS: Final = 0.05  # the same of boxes, in pixels of the square that the net sees


@dataclass(frozen=True)
class Deviation:
    """The greatest differences between a net's ONNX file and its torch net.

    Attributes:
        net: its name, model and fold.
        probability: of probabilities, or of candidates' confidences.
        pixels: of candidates' boxes, in pixels of the square that the net sees; None of a classifier.
    """

    net: str
    probability: float
    pixels: float | None

    @property
    def accepted(self) -> bool:
        """Whether the differences are within the tolerance; NaN is not."""
        return self.probability <= PROBABILITIES and (self.pixels is None or self.pixels <= PIXELS)

    def __str__(self) -> str:
        boxes = "" if self.pixels is None else f", boxes by at most {self.pixels:.1e} px"
        return f"{self.net}: probabilities differ by at most {self.probability:.1e}{boxes}"
