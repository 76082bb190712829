"""What chance does to a training: how far apart one setting scores with several seeds, where a study has it."""

from collections import defaultdict
from collections.abc import Sequence

from jobs.contract.digest import digest, settings
from jobs.contract.experiment import Experiment, training_settings
from workflows.study.collect import Entry


def seeds_apart(entries: Sequence[Entry]) -> dict[str, float]:
    """Figure → how far apart the pooled scores lie, at most, of runs that differ in their seed alone."""
    alike: dict[tuple[str, str], list[float]] = defaultdict(list)
    for entry in entries:
        if entry.score is not None:
            alike[entry.figure, _but_for_the_seed(entry.studied.experiment)].append(entry.score)
    apart: dict[str, float] = {}
    for (figure, _), scores in alike.items():
        if len(scores) > 1:
            apart[figure] = max(apart.get(figure, 0.0), max(scores) - min(scores))
    return apart


def same_training(one: Experiment, other: Experiment) -> bool:
    """Whether two experiments on one dataset share every training, so that its chance does not tell them apart."""
    return _trainings(one) == _trainings(other)


def _trainings(experiment: Experiment) -> tuple[object, ...]:
    return experiment.seed, experiment.data.siblings, [training_settings(model) for model in experiment.models.values()]


def _but_for_the_seed(experiment: Experiment) -> str:
    words = {"name", "title", "remark", "inferred", "tracker"}
    return digest(settings(experiment, without={"seed", *words}))
