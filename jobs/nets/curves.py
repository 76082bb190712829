"""Learning curves of finished trainings."""

import json

from jobs.contract.stored.records import Done
from jobs.runtime.context import Context
from jobs.runtime.work import fetch


def track_curve(context: Context, trained: Done) -> None:
    """Give the tracker the epochs of a finished training that it does not know yet.

    They were trained by an attempt that was killed, or by another run.
    """
    if context.progress.tracker:
        curve = fetch(context.store, trained.outputs["curve.json"], context.cache)
        context.progress.earlier_epochs(json.loads(curve.read_text())["epochs"])
