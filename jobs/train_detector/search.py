# SPDX-License-Identifier: AGPL-3.0-only
"""The work before the weights, where the experiment asks for it: a search for settings, candidate after candidate.

Each candidate is a training like any other, with a work of its own: one that is there already, whoever trained it, is
not trained again, and a search that was stopped or killed goes on in the epoch it was in.
"""

import gc
import json
from typing import Final

from jobs.contract import layout
from jobs.contract.experiment import Detector
from jobs.contract.records import Done, Output
from jobs.runtime.work import Work, fetch
from jobs.train_detector.evolve import Trial, best, candidate, recipe, settings
from jobs.train_detector.task import Task

CANDIDATES: Final = "candidates.json"


def evolved(task: Task) -> tuple[Task, Done]:
    """Search where that is not done, and leave the outcome as a recipe in the run's tree.

    The work holds ``candidates.json`` (settings and score of each, in order) and stands for each one's curve. Its
    scores are ``start`` and ``best``, of the epoch that counts.

    Returns:
        The task with the best settings in place of its own, and the finished search.

    Raises:
        Stopped: somebody asked to stop; at most the epoch begun is lost.
        BadInput: as of any training; but a candidate that diverges scores 0, and the search goes on.
    """
    context, work = task.context, task.search_work()
    start = task.detector.model_copy(update={"evolve": None})
    done = work.done() or _search(task, work, start)
    table = json.loads(fetch(context.store, done.outputs[CANDIDATES], context.cache).read_text())
    history = [Trial(start.model_copy(update=row["settings"]), row["score"]) for row in table]
    text = recipe(context.experiment, context.model, task.fold, history)
    context.store.put(layout.recipe(context.run, context.model, task.fold), text.encode())
    return task.trying(best(history).detector), done


def _search(task: Task, work: Work, start: Detector) -> Done:
    context, budget = task.context, task.detector.candidates
    history: list[Trial] = []
    curves: dict[str, Output] = {}
    while (number := len(history) + 1) <= budget:
        context.stop.check()
        one = task.trying(candidate(start, history, context.experiment.seed))
        highest = best(history).score if history else None
        with context.progress.part("candidate", number, budget, highest):
            done = _trained(one)
        history.append(Trial(one.detector, done.scores[start.inference.select]))
        curves[f"curve-{number:03d}.json"] = done.outputs["curve.json"]
        context.progress.say(
            f"candidate {number} of {budget} scores {history[-1].score:.4f}, best {best(history).score:.4f}"
        )
    table = context.scratch / CANDIDATES
    rows = [{"score": trial.score, "settings": settings(trial.detector)} for trial in history]
    table.write_text(json.dumps(rows, indent=1))
    scores = {"start": history[0].score, "best": best(history).score}
    return work.finish({CANDIDATES: table, **curves}, scores, context.cost())


def _trained(task: Task) -> Done:
    """The weights of a candidate, or the record that there are none to be had."""
    work = task.weights_work()
    if (done := work.done() or task.diverged_work().done()) is None:
        from jobs.train_detector.train import train_or_diverge

        done = train_or_diverge(task, work)
        gc.collect()  # a trainer refers to itself: without this a GPU would have to hold two nets
    return done
