# SPDX-License-Identifier: AGPL-3.0-only
"""The search for settings that ``evolve`` asks for: trains candidate after candidate before the stage's first work.

Each candidate is a training like any other with work of its own: one that is already stored is not trained again, and
an interrupted search continues in the epoch it had reached.
"""

import gc
import json
from functools import partial
from typing import Final

from jobs.contract.experiment import Detector
from jobs.contract.stored import layout
from jobs.contract.stored.records import Done, Output
from jobs.runtime.work import Work, fetch
from jobs.train_detector.evolve import Trial, best_trial, candidate, gene_values, recipe
from jobs.train_detector.fold import DetectorFold

CANDIDATES: Final = "candidates.json"


def evolve(fold: DetectorFold) -> tuple[DetectorFold, Done]:
    """Search for better settings where that is not done yet, and store the result as a recipe in the run's tree.

    Outputs: ``candidates.json`` (settings and score of each, in order) and each candidate's learning curve. Scores:
    ``start`` and ``best``, of the epoch that ``inference.select`` names.

    Returns:
        The fold with the best settings, and the finished search.

    Raises:
        Stopped: the task was asked to stop; at most the current epoch is lost.
        BadInput: the data, the settings or the GPU's memory do not allow it. A candidate that diverges scores 0.
    """
    context = fold.context
    start = fold.detector.model_copy(update={"evolve": None})
    done = context.once("search", fold.search_inputs(), partial(_search, fold, start))
    table = json.loads(fetch(context.store, done.outputs[CANDIDATES], context.cache).read_text())
    history = [Trial(start.model_copy(update=row["settings"]), row["score"]) for row in table]
    text = recipe(context.experiment, context.model, fold.fold, history)
    context.store.put(layout.recipe(context.run, context.model, fold.fold), text.encode())
    return fold.with_settings(best_trial(history).detector), done


def _search(fold: DetectorFold, start: Detector, work: Work) -> Done:
    context, budget = fold.context, fold.detector.candidates
    history: list[Trial] = []
    curves: dict[str, Output] = {}
    while (number := len(history) + 1) <= budget:
        context.stop.check()
        attempt = fold.with_settings(candidate(start, history, context.experiment.seed))
        highest = best_trial(history).score if history else None
        with context.progress.part("candidate", number, budget, highest):
            done = _train(attempt)
        history.append(Trial(attempt.detector, done.scores[start.inference.select]))
        curves[f"curve-{number:03d}.json"] = done.outputs["curve.json"]
        context.progress.say(
            f"candidate {number} of {budget}: score {history[-1].score:.4f}, best {best_trial(history).score:.4f}"
        )
    table = context.scratch / CANDIDATES
    rows = [{"score": trial.score, "settings": gene_values(trial.detector)} for trial in history]
    table.write_text(json.dumps(rows, indent=1))
    scores = {"start": history[0].score, "best": best_trial(history).score}
    return work.finish({CANDIDATES: table, **curves}, scores, context.cost())


def _train(fold: DetectorFold) -> Done:
    """Return the candidate's finished training, or the finished work ``diverged`` of the same inputs."""

    def make(work: Work) -> Done:
        return fold.context.once("diverged", work.inputs, partial(_train_or_diverge, fold, work))

    return fold.context.once("weights", fold.weights_inputs(), make)


def _train_or_diverge(fold: DetectorFold, work: Work, diverged: Work) -> Done:
    from jobs.train_detector.train import train_or_diverge

    done = train_or_diverge(fold, work, diverged)
    gc.collect()  # a trainer is a reference cycle: without this a GPU would have to hold two nets
    return done
