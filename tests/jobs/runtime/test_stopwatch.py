import time

import pytest

from jobs.runtime.telemetry.stopwatch import Stopwatch


def test_seconds_add_up_by_what_they_are_spent_on():
    watch = Stopwatch()
    for _ in range(2):
        with watch.measure("waiting"):
            time.sleep(0.01)
    with watch.measure("training"):
        time.sleep(0.02)
    assert watch.seconds.keys() == {"waiting", "training"}
    assert watch.seconds["waiting"] >= 0.02
    assert watch.share("waiting") + watch.share("training") == pytest.approx(1)


def test_time_that_ended_in_an_error_counts():
    watch = Stopwatch()
    with pytest.raises(KeyError), watch.measure("writing"):
        raise KeyError
    assert "writing" in watch.seconds


def test_nothing_measured_has_no_share():
    assert Stopwatch().share("waiting") == 0.0
