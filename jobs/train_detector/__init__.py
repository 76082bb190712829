# SPDX-License-Identifier: AGPL-3.0-only
"""Train-detector: a YOLO of one fold, then its boxes on the films it was not trained on."""

from jobs.runtime.context import Context


def run(context: Context) -> dict[str, float]:
    """Train where the weights are not done, predict where the boxes are not; returns the headline scores."""
    from jobs.train_detector.boxes import out_of_fold
    from jobs.train_detector.task import Task
    from jobs.train_detector.weights import train

    task = Task.of(context)
    weights = train(task)
    oof = out_of_fold(task, weights)
    scores = {"opacity": oof.scores["opacity"], "best": weights.scores["best"], "last": weights.scores["last"]}
    context.refer({"weights": weights.digest, "oof": oof.digest}, scores)
    return scores
