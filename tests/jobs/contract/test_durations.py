import pytest

from jobs.contract.durations import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""), (0, "0s"), (7.4, "7s"), (59.6, "1m00s"), (750, "12m30s"), (3599.6, "1h00m"), (11_100, "3h05m"),
        (360_000, "100h00m"),
    ],
)  # fmt: skip
def test_a_duration_has_at_most_two_units(seconds: float | None, text: str):
    assert duration(seconds) == text
