"""Films that weights have seen and that a fold validates on, or that resemble its films."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from jobs.contract.names import Stage
from jobs.films.dataset import read_index
from jobs.films.lineage.crossing import Crossing, Crossings
from jobs.films.lineage.seen import Seen, images_seen
from jobs.runtime.work import fetch


@dataclass(frozen=True)
class Overlap:
    """Films that were seen and must not have been.

    Attributes:
        seen: the training that saw them.
        images: image → a sentence that names it and the validation film.
    """

    seen: Seen
    images: dict[str, str]

    @property
    def example(self) -> str:
        """One of the films in a sentence."""
        return next(iter(self.images.values()))


class Validation:
    """The films that a fold of the run validates on, against films that other trainings saw."""

    def __init__(self, crossings: Crossings, fold: int) -> None:
        self.crossings, self.fold = crossings, fold

    def overlaps(self, seen: Iterable[Seen]) -> list[Overlap]:
        """Return the overlaps with what was seen; those without any film are left out."""
        found = [Overlap(one, self.among(one)) for one in seen]
        return [one for one in found if one.images]

    def among(self, seen: Seen) -> dict[str, str]:
        """Return the films seen that overlap with the fold: image → sentence."""
        crossing = self._own if seen.index == self.crossings.own else self.crossings.against(seen.index)
        return crossing.matching(self.fold, images_seen(crossing.folds, seen))

    @cached_property
    def _own(self) -> Crossing:
        """The run's own index against itself: a film matches its own fold, which holds its whole group."""
        context = self.crossings.context
        _, done = context.open_work(Stage.PREPARE, self.crossings.own)
        rows = read_index(fetch(context.store, done.outputs["index.parquet"], context.cache))
        folds = dict(zip(rows["image"], map(int, rows["fold"]), strict=True))
        return Crossing(folds, {image: {fold: f"{image} is one of them"} for image, fold in folds.items()})
