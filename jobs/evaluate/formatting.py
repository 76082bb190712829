"""Formats numbers and sources for the report."""

import math
from typing import Final

from jobs.contract.experiment.source import PREFIX

DASH: Final = "–"


def number(value: float) -> str:
    """Format a score with three decimals; a dash where it is not finite."""
    return f"{value:.3f}" if math.isfinite(value) else DASH


def memory(size: int) -> str:
    """Format bytes as MiB or GiB; a dash for 0."""
    if not size:
        return DASH
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def source_text(source: str) -> str:
    """Return where films come from; synthetic ones are said to be."""
    return f"{source} (synthetic)" if source.startswith(PREFIX) else source
