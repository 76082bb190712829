"""The competition's clock: how long its whole test set would take, set against what a submission had."""

from typing import Final

# The public test set had 2,477 rows: 1,214 studies and these films. A submission had nine hours, without a network.
FILMS: Final = 1263
HOURS: Final = 9


def hours(seconds_a_film: float) -> float:
    """Hours that the competition's films take."""
    return seconds_a_film * FILMS / 3600


def set_against(nets: int, seconds_a_film: float) -> str:
    """In words, what nets that take so long a film together, one after the other, make of the nine hours."""
    said = "net" if nets == 1 else "nets"
    return (
        f"{nets} {said} over the competition's {FILMS:,} films would take {hours(seconds_a_film):.2f} h of its {HOURS} "
        "h on such a device, decoding apart"
    )
