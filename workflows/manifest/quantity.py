"""Kubernetes quantities, e.g. ``512Mi``, ``4``, ``250m``."""

from typing import Final

_FACTORS: Final = {
    "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50,
}  # fmt: skip


def parse_quantity(text: str) -> float:
    """Parse a quantity: bytes of memory, cores of CPU.

    Raises:
        ValueError: the text is not a quantity.
    """
    digits = text.rstrip("mkKMGTPi")
    suffix = text[len(digits) :]
    if suffix and suffix not in _FACTORS:
        raise ValueError(f"{text} is not a quantity such as 16Gi, 4 or 250m")
    return float(digits) * _FACTORS.get(suffix, 1.0)
