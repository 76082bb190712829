"""Numbers as a person reads them."""

import math
from typing import Final

DASH: Final = "–"


def number(value: float) -> str:
    """A score as it is shown: three decimals, a dash where there is none."""
    return f"{value:.3f}" if math.isfinite(value) else DASH


def duration(seconds: float) -> str:
    """Seconds as a person says them: 41 s, 12 min, 3 h 05 min."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def memory(size: int) -> str:
    """Bytes as a person says them; a dash for none."""
    if not size:
        return DASH
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
