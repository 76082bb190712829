"""Letterboxing: a film of any size scaled to fit a square, centred, with black margins."""

from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

Pixel = TypeVar("Pixel", bound=np.generic)


@dataclass(frozen=True)
class Letterbox:
    """The position of a ``width`` x ``height`` film in a square of ``size`` pixels.

    Rounds as ultralytics does, so a detector that letterboxes its own input agrees to the pixel.
    """

    width: int
    height: int
    size: int

    @property
    def scaled(self) -> tuple[int, int]:
        """Width and height of the film within the square, at least one pixel each."""
        ratio = min(self.size / self.height, self.size / self.width)
        return max(round(self.width * ratio), 1), max(round(self.height * ratio), 1)

    @property
    def shrinks(self) -> bool:
        """Whether the film has at least the width and the height that it has within the square."""
        width, height = self.scaled
        return width <= self.width and height <= self.height

    @property
    def offset(self) -> tuple[int, int]:
        """Left and top margin in pixels of the square; an odd pixel goes to the right or bottom."""
        width, height = self.scaled
        return max(round((self.size - width) / 2 - 0.1), 0), max(round((self.size - height) / 2 - 0.1), 0)

    def to_pack(self, boxes: NDArray[np.floating]) -> NDArray[np.float64]:
        """Convert boxes (N, 4) ``xmin ymin xmax ymax`` from pixels of the film to pixels of the square."""
        return np.asarray(boxes, np.float64).reshape(-1, 4) * self._scale + self._shift

    def to_film(self, boxes: NDArray[np.floating]) -> NDArray[np.float64]:
        """Convert boxes (N, 4) from pixels of the square to pixels of the film, without clipping."""
        return (np.asarray(boxes, np.float64).reshape(-1, 4) - self._shift) / self._scale

    def apply(self, image: NDArray[Pixel]) -> NDArray[Pixel]:
        """Return the square (size, size) of a film (height, width): averaged over areas if it shrinks, zero outside.

        Raises:
            ValueError: the image does not have this letterbox's width and height.
        """
        if image.shape != (self.height, self.width):
            raise ValueError(f"a letterbox for {(self.height, self.width)} cannot hold an image of {image.shape}")
        pixels: NDArray[Any] = image
        scaled = cv2.resize(pixels, self.scaled, interpolation=cv2.INTER_AREA if self.shrinks else cv2.INTER_LINEAR)
        return self.place(np.asarray(scaled, image.dtype))

    def place(self, scaled: NDArray[Pixel]) -> NDArray[Pixel]:
        """Return the square (size, size) of a film that is scaled already: in its middle, zero outside."""
        left, top = self.offset
        height, width = scaled.shape
        square = np.zeros((self.size, self.size), scaled.dtype)
        square[top : top + height, left : left + width] = scaled
        return square

    @property
    def _scale(self) -> NDArray[np.float64]:
        width, height = self.scaled
        return np.tile([width / self.width, height / self.height], 2)

    @property
    def _shift(self) -> NDArray[np.float64]:
        return np.tile(np.array(self.offset, np.float64), 2)


def letterboxes(index: pd.DataFrame, size: int) -> list[Letterbox]:
    """Return the position of each film of an index (``width``, ``height``) in its square of ``size`` pixels."""
    sizes = zip(index["width"], index["height"], strict=True)
    return [Letterbox(int(width), int(height), size) for width, height in sizes]
