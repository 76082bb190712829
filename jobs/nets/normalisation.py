"""What a backbone expects of its input."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Normalisation:
    """What a backbone expects of its input, a figure a colour channel, for values from 0 to 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
