# SPDX-License-Identifier: AGPL-3.0-only
"""Train-detector: a YOLO of one fold, then its boxes on the films it was not trained on.

Where the experiment asks for it, the settings are searched for first, and the best candidate's weights go on.
"""

from jobs.runtime.context import Context
from jobs.runtime.libraries import loading
from jobs.train_detector.task import Task


def run(context: Context) -> dict[str, float]:
    """Search and train where the weights are not done, predict where the boxes are not; returns the headline scores."""
    task = Task.of(context)
    works: dict[str, str] = {}
    start: dict[str, float] = {}
    if task.detector.evolve:
        with loading():
            from jobs.train_detector.search import evolved

        task, search = evolved(task)
        works, start = {"search": search.digest}, {"start": search.scores["start"]}
    work = task.weights_work()
    if (weights := work.done()) is None:
        with loading():  # what is done needs no PyTorch
            from jobs.train_detector.train import train

        weights = train(task, work)
    work = task.boxes_work(weights.digest)
    if (oof := work.done()) is None:
        with loading():
            from jobs.train_detector.out_of_fold import out_of_fold

        oof = out_of_fold(task, work, weights)
    scores = {"opacity": oof.scores["opacity"], "best": weights.scores["best"], "last": weights.scores["last"], **start}
    context.refer({**works, "weights": weights.digest, "oof": oof.digest}, scores)
    return scores
