"""Estimates the time that a whole test set takes, from a few of its films."""

import time
from collections.abc import Callable

from jobs.runtime.context import Context
from jobs.scoring.competition import hours_text


def estimate(context: Context, films: int, sample: int, predict_sample: Callable[[], object]) -> float:
    """Measure the inference time per film and log what it means for this test set and for the competition's.

    Args:
        context: the attempt whose log gets the estimate.
        films: films in this test set.
        sample: films that ``predict_sample`` predicts.
        predict_sample: called twice; the first call warms up.

    Returns:
        Seconds per film, inference alone.
    """
    predict_sample()
    begun = time.monotonic()
    predict_sample()
    seconds = (time.monotonic() - begun) / sample
    nets = len(context.experiment.folds.selected)
    context.progress.say(
        f"{seconds * 1000:.0f} ms per film, measured on {sample} films: {seconds * films:.0f} s for the {films} films "
        f"here; {hours_text(nets, nets * seconds)}"
    )
    return seconds
