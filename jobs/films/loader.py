"""Training batches from packed films: selection, labels, order and augmentation.

The order depends only on (seed, epoch) and each augmented film only on (seed, epoch, film), so a training interrupted
after any step resumes with exactly the batches it would have seen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self, assert_never

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from jobs.contract.exits import BadInput
from jobs.contract.names import STUDY_CLASSES
from jobs.films.augment import Augmentation
from jobs.films.dataset import Pack
from jobs.films.extra import soft_labels
from jobs.films.letterbox import Letterbox
from jobs.films.masks import Shape, draw_mask, shrink_mask

Siblings = Literal["keep", "drop", "mask"]


class Batch(NamedTuple):
    """A batch of films with their labels.

    Attributes:
        films: (B, 1, S, S) uint8.
        study: (B,) int64 index into STUDY_CLASSES; (B, 4) float32 probabilities where a teacher labelled films.
        film: (B,) int64 index into FILM_CLASSES: 1 where the film shows an opacity.
        counted: (B,) float32, 0 for films that film-level and mask losses ignore.
        masks: (B, 1, cells, cells) uint8, None if no head uses masks.
    """

    films: torch.Tensor
    study: torch.Tensor
    film: torch.Tensor
    counted: torch.Tensor
    masks: torch.Tensor | None

    def to(self, device: str) -> "Batch":
        """Move the batch to a device."""
        films, study, film, counted = (one.to(device, non_blocking=True) for one in self[:4])
        masks = None if self.masks is None else self.masks.to(device, non_blocking=True)
        return Batch(films, study, film, counted, masks)


@dataclass(frozen=True)
class Masks:
    """Masks for an auxiliary head: cells per side, and the shape drawn for each box."""

    cells: int
    shape: Shape


@dataclass(frozen=True)
class Films:
    """Selected films of a pack with their labels.

    Attributes:
        rows: (n,) positions in the pack.
        study: (n,) index into STUDY_CLASSES.
        film: (n,) index into FILM_CLASSES.
        counted: (n,) whether film-level and mask losses count the film.
        group: (n,) number of the film's study, from 0, among the studies of these films.
        boxes: n arrays (k, 4), the boxes of each film in pixels of the square.
        soft: (n, 4) probabilities to learn in place of ``study``; None where no teacher labelled any of the films.
    """

    rows: NDArray[np.int64]
    study: NDArray[np.int64]
    film: NDArray[np.int64]
    counted: NDArray[np.bool_]
    group: NDArray[np.int64]
    boxes: tuple[NDArray[np.float64], ...]
    soft: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, index: pd.DataFrame, chosen: NDArray[np.bool_], size: int, siblings: Siblings = "keep") -> Self:
        """Select films from an index and scale their boxes to a size.

        Args:
            index: all films, in the order of the pack.
            chosen: (all,) whether to select each film.
            size: pixels per side of the pack.
            siblings: how to treat films without boxes in a study where another film has boxes.

        Raises:
            BadInput: a chosen film has no label.
        """
        orphans = unboxed_siblings(index) & chosen
        match siblings:
            case "keep":
                orphans[:] = False
            case "drop":
                chosen = chosen & ~orphans
            case "mask":
                pass  # kept, but ignored by film-level and mask losses
            case _:
                assert_never(siblings)
        rows = np.flatnonzero(chosen)
        films = index.iloc[rows]
        if len(unknown := films.loc[films["study_class"].isna(), "study"]):
            raise BadInput(f"study {unknown.iloc[0]} and {len(unknown) - 1} more films have no label to learn from.")
        letterboxes = [Letterbox(int(w), int(h), size) for w, h in zip(films["width"], films["height"], strict=True)]
        boxes = [np.array([*one], np.float64).reshape(-1, 4) for one in films["boxes"]]
        return cls(
            rows=rows,
            study=np.array([STUDY_CLASSES.index(name) for name in films["study_class"]], np.int64),
            film=np.array([len(one) > 0 for one in boxes], np.int64),
            counted=~orphans[rows] & (films["certain"].to_numpy(bool) if "certain" in films else True),
            group=pd.factorize(films["study"])[0].astype(np.int64),
            boxes=tuple(place.to_pack(one) for place, one in zip(letterboxes, boxes, strict=True)),
            soft=soft_labels(films),
        )

    def __len__(self) -> int:
        return len(self.rows)

    def of_studies(self, count: int, seed: int) -> Self:
        """Select the films of at most ``count`` studies, sampled with the seed."""
        studies = np.random.default_rng(seed).permutation(int(self.group.max()) + 1)[:count]
        kept = np.flatnonzero(np.isin(self.group, studies))
        return type(self)(
            rows=self.rows[kept],
            study=self.study[kept],
            film=self.film[kept],
            counted=self.counted[kept],
            group=pd.factorize(self.group[kept])[0].astype(np.int64),
            boxes=tuple(self.boxes[one] for one in kept),
            soft=None if self.soft is None else self.soft[kept],
        )

    def batch(self, numbers: Sequence[int], pack: Pack, masks: Masks | None) -> Batch:
        """Make a batch of some of these films, without augmentation."""
        return collate([self.example(number, pack, masks, None, 0) for number in numbers])

    def example(
        self, number: int, pack: Pack, masks: Masks | None, augmentation: Augmentation | None, epoch: int
    ) -> tuple[Any, ...]:
        """Return a film (1, S, S), its labels and its mask (1, cells, cells) or None."""
        film, mask = pack[int(self.rows[number])], None
        if masks and len(self.boxes[number]):
            mask = draw_mask(self.boxes[number], pack.size, masks.shape)
        if augmentation:
            film, mask = augmentation(film, mask, epoch, int(self.rows[number]))
        small = None
        if masks:
            cells = (masks.cells, masks.cells)
            small = (np.zeros(cells, np.uint8) if mask is None else shrink_mask(mask, masks.cells))[None]
        study = self.study[number] if self.soft is None else self.soft[number]
        return film[None], study, self.film[number], self.counted[number], small


def unboxed_siblings(index: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which films (n,) have no box although another film of their study has."""
    boxed = index["boxes"].map(len) > 0
    return np.asarray(boxed.groupby(index["study"]).transform("any") & ~boxed, np.bool_)


def collate(examples: Iterable[tuple[Any, ...]]) -> Batch:
    """Stack examples into a batch."""
    films, study, film, counted, masks = zip(*examples, strict=True)
    return Batch(
        films=torch.from_numpy(np.stack(films)),
        study=torch.from_numpy(np.array(study)),
        film=torch.from_numpy(np.array(film)),
        counted=torch.from_numpy(np.array(counted, np.float32)),
        masks=None if masks[0] is None else torch.from_numpy(np.stack(masks)),
    )


def epoch_batches(films: int, batch: int, accumulate: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Return the epoch's batches, each an array of film numbers; ``accumulate`` batches make an optimiser step.

    An incomplete step is dropped, so that every step weighs its films alike and batch norm never sees a single film. If
    there are fewer films than a step needs, all of them make one step.
    """
    order = np.random.default_rng([seed, epoch]).permutation(films)
    steps = epoch_steps(films, batch, accumulate)
    used = order[: steps * batch * accumulate]
    return [used[start : start + batch] for start in range(0, len(used), batch)]


def epoch_steps(films: int, batch: int, accumulate: int) -> int:
    """Return the number of optimiser steps per epoch."""
    return max(1, films // (batch * accumulate))


class TrainingFilms(Dataset[tuple[Any, ...]]):
    """The films of one epoch, augmented."""

    def __init__(self, films: Films, pack: Pack, masks: Masks | None, augmentation: Augmentation, epoch: int) -> None:
        self.films, self.pack, self.masks, self.augmentation, self.epoch = films, pack, masks, augmentation, epoch

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        return self.films.example(number, self.pack, self.masks, self.augmentation, self.epoch)


def batches(films: TrainingFilms, order: Sequence[NDArray[np.int64]], workers: int, pin: bool) -> Iterable[Batch]:
    """Return the batches of an epoch, or of its rest, loaded by ``workers`` processes (0: by this process)."""
    # OpenCV's thread pool does not survive a fork: a worker that uses it hangs. Shut it down first.
    cv2.setNumThreads(1)
    return DataLoader(
        films,
        batch_sampler=[one.tolist() for one in order],
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin,
        multiprocessing_context="fork" if workers else None,
        generator=torch.Generator(),
    )
