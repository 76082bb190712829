"""Films beside the folds as a training of one fold sees them: which, with whose labels, and without which images."""

from dataclasses import dataclass
from typing import Any, Self

from jobs.contract.names import Stage, extra_name
from jobs.contract.task import TaskId
from jobs.films.extra import Beside
from jobs.films.lineage.crossing import Crossings
from jobs.films.prepared import fetch_other_dataset
from jobs.nets.teachers import Teacher
from jobs.runtime.context import Context
from jobs.runtime.work import fetch

LABELS = "labels.parquet"


@dataclass(frozen=True)
class ExtraPart:
    """An entry of ``data.extra`` for one fold.

    Attributes:
        index: digest of the index of its films.
        dataset: hash of that index.
        labels: digest of a teacher's labels; None where the films have their own.
        without: images that are not trained on, since the fold validates on such films.
    """

    index: str
    dataset: str
    labels: str | None
    without: tuple[str, ...]

    @classmethod
    def parse(cls, stored: dict[str, Any]) -> Self:
        """Read what :meth:`inputs` returned."""
        return cls(stored["index"], stored["dataset"], stored.get("labels"), tuple(stored.get("without", ())))

    def inputs(self) -> dict[str, Any]:
        """Return it as inputs of work record it."""
        return {
            "index": self.index,
            "dataset": self.dataset,
            **({"labels": self.labels} if self.labels else {}),
            **({"without": list(self.without)} if self.without else {}),
        }

    def open(self, context: Context, size: int) -> Beside:
        """Fetch the films at a size, and their labels."""
        dataset, labels = fetch_other_dataset(context, self.index, (size,)), None
        if self.labels:
            _, done = context.open_work(Stage.PREDICT, self.labels)
            labels = fetch(context.store, done.outputs[LABELS], context.cache)
        return Beside(dataset, labels, self.without)


def extra_parts(context: Context) -> tuple[ExtraPart, ...]:
    """Return the films beside the folds for a task that trains a fold.

    Raises:
        BadInput: prepare or a labelling task is not done, or a teacher has seen films that the fold validates on.
    """
    entries = context.experiment.data.extra
    if not entries:
        return ()
    works, fold, parts = context.prepared.works, context.fold, []
    crossings = Crossings(context, works["index"])
    for number, extra in enumerate(entries):
        name = extra_name(number)
        index, labels = works[f"{name}-index"], None
        if extra.labels:
            Teacher.of(context, extra.labels).refuse_leak(crossings, fold)
            labels = context.upstream(TaskId(Stage.PREDICT, name, fold)).works["labels"]
        _, done = context.open_work(Stage.PREPARE, index)
        crossing = crossings.against(index)
        without = tuple(sorted(crossing.matching(fold, crossing.folds)))
        parts.append(ExtraPart(index, done.outputs["index.parquet"].sha256, labels, without))
    return tuple(parts)
