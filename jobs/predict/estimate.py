"""How long a whole test set takes, told beforehand from a few films."""

import time
from collections.abc import Callable
from typing import Final

from jobs.runtime.context import Context

# The competition's public test set had 2,477 rows: 1,214 studies and these films. A submission had nine hours.
COMPETITION_FILMS: Final = 1263
COMPETITION_SECONDS: Final = 9 * 3600


def estimate(context: Context, films: int, some: int, predict_some: Callable[[], object]) -> float:
    """Time a few films and say what that means for this set and for the competition's.

    Args:
        context: the attempt, which is told.
        films: films in this test set.
        some: films that ``predict_some`` predicts.
        predict_some: called twice; the first call warms up.

    Returns:
        Seconds a film, inference alone.
    """
    predict_some()
    begun = time.monotonic()
    predict_some()
    each = (time.monotonic() - begun) / some
    experiment = context.experiment
    nets = (len(experiment.classifiers) + len(experiment.detectors)) * len(experiment.folds.selected)
    hours = each * COMPETITION_FILMS * nets / 3600
    context.progress.say(
        f"estimated from {some} films: {each * 1000:.0f} ms a film, so {each * films:.0f} s for the {films} here; "
        f"{nets} nets of this cost over the competition's {COMPETITION_FILMS} films take {hours:.2f} h of its "
        f"{COMPETITION_SECONDS // 3600} h on such a device"
    )
    return each
