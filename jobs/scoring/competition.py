"""The competition's time limit, and how long its whole test set would take."""

from typing import Final

# The public test set had 2,477 rows: 1,214 studies and these films. A submission had nine hours, without a network.
FILMS: Final = 1263
HOURS: Final = 9


def hours(seconds_per_film: float) -> float:
    """Return the hours that the competition's films take."""
    return seconds_per_film * FILMS / 3600


def hours_text(nets: int, seconds_per_film: float) -> str:
    """Return a sentence: the projected hours for the competition's films against its limit.

    Args:
        nets: how many nets predict each film, one after the other.
        seconds_per_film: seconds that all of them together take per film.
    """
    return (
        f"{nets} {'net' if nets == 1 else 'nets'} would take {hours(seconds_per_film):.2f} h of the allowed {HOURS} h "
        f"for the competition's {FILMS:,} films on this device, without decoding"
    )
