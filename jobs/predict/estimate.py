"""How long a whole test set takes, told beforehand from a few films."""

import time
from collections.abc import Callable

from jobs.runtime.context import Context
from jobs.scoring.competition import set_against


def estimate(context: Context, films: int, some: int, predict_some: Callable[[], object]) -> float:
    """Time a few films and say what that means for this set and, with all folds of the model, for the competition's.

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
    nets = len(context.experiment.folds.selected)
    context.progress.say(
        f"estimated from {some} films: {each * 1000:.0f} ms a film, so {each * films:.0f} s for the {films} here; "
        f"{set_against(nets, nets * each)}"
    )
    return each
