"""How much a seed changes a score: the range of scores of one setting trained with several seeds."""

from collections import defaultdict
from collections.abc import Sequence

from jobs.contract.experiment import Experiment, training_settings
from jobs.contract.stored.digest import digest, settings
from workflows.study.collect import LogEntry


def seed_ranges(entries: Sequence[LogEntry]) -> dict[str, float]:
    """Figure → largest range of pooled scores among runs that differ only in their seed."""
    alike: dict[tuple[str, str], list[float]] = defaultdict(list)
    for entry in entries:
        if entry.score is not None:
            alike[entry.figure, _digest_without_seed(entry.studied.experiment)].append(entry.score)
    ranges: dict[str, float] = {}
    for (figure, _), scores in alike.items():
        if len(scores) > 1:
            ranges[figure] = max(ranges.get(figure, 0.0), max(scores) - min(scores))
    return ranges


def same_training(one: Experiment, other: Experiment) -> bool:
    """Whether two experiments on one dataset share every training, so that seeds cannot explain a difference."""
    return _trainings(one) == _trainings(other)


def _trainings(experiment: Experiment) -> tuple[object, ...]:
    return experiment.seed, experiment.data.siblings, [training_settings(model) for model in experiment.models.values()]


def _digest_without_seed(experiment: Experiment) -> str:
    words = {"name", "title", "remark", "inferred", "tracker"}
    return digest(settings(experiment, without={"seed", *words}))
