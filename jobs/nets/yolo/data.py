# SPDX-License-Identifier: AGPL-3.0-only
"""Films for YOLO, straight from the packed shards; no image file is read or written.

Training samples are a pure function of (seed, epoch, film): an epoch's order and a sample's augmentation do not depend
on workers, history or the state of a generator, so a resumed training sees the same batches.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler
from ultralytics.data import YOLODataset
from ultralytics.data.augment import Compose, Format, MixUp, Mosaic, RandomFlip, RandomPerspective

from jobs.films.dataset import Dataset, Pack
from jobs.films.extra import JoinedFilms
from jobs.films.letterbox import Letterbox, letterboxes
from jobs.nets.tables import squares


@dataclass(frozen=True)
class DetectorFilms:
    """Some films of a dataset at one size.

    Attributes:
        index: their rows of the dataset's index.
        rows: (N,) their positions in the pack.
        pack: all films of the dataset, (S, S) uint8 each.
    """

    index: pd.DataFrame
    rows: NDArray[np.int64]
    pack: Pack

    @classmethod
    def of(cls, dataset: Dataset | JoinedFilms, rows: NDArray[np.int64], size: int) -> "DetectorFilms":
        """Select the films at the given positions of the index."""
        return cls(dataset.index.iloc[rows].reset_index(drop=True), rows, dataset.pack(size))

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, count: int, seed: int) -> "DetectorFilms":
        """Sample at most ``count`` films with the seed, keeping their order."""
        kept = np.sort(np.random.default_rng(seed).permutation(len(self))[:count])
        return DetectorFilms(self.index.iloc[kept].reset_index(drop=True), self.rows[kept], self.pack)

    @cached_property
    def letterboxes(self) -> list[Letterbox]:
        """Each film's position in its square."""
        return letterboxes(self.index, self.pack.size)

    @cached_property
    def boxes(self) -> list[NDArray[np.float32]]:
        """Each film's boxes as (n, 4) ``x y width height`` of centres, in fractions of the square, as in YOLO."""
        found = []
        for boxes, letterbox in zip(self.index["boxes"], self.letterboxes, strict=True):
            corners = letterbox.to_pack(np.array([*boxes], np.float64).reshape(-1, 4)) / self.pack.size
            low, high = corners[:, :2], corners[:, 2:]
            found.append(np.hstack([(low + high) / 2, high - low]).astype(np.float32))
        return found

    def images(self, positions: range) -> torch.Tensor:
        """Return films as (n, 1, S, S) uint8, still to be copied to the GPU."""
        return torch.from_numpy(squares(self.pack, self.rows[positions.start : positions.stop]))


class PackedDataset(YOLODataset):  # type: ignore[misc]
    """ultralytics' dataset and augmentations, reading from a pack instead of files. Pass ``cache="ram"``."""

    def __init__(self, films: DetectorFilms, seed: int, brightness: float, **settings: Any) -> None:
        self.films, self.seed, self.brightness, self.epoch = films, seed, brightness, 0
        super().__init__(img_path="", **settings)

    def check_cache_ram(self, safety_margin: float = 1.0) -> bool:
        """Return False, so nothing is cached; ``cache="ram"`` only makes mosaic draw from all films, not the latest."""
        return False

    def get_img_files(self, img_path: str | list[str]) -> list[str]:
        """Return the films' names in place of paths."""
        return list(self.films.index["image"])

    def get_labels(self) -> list[dict[str, Any]]:
        """Return each film's label in ultralytics' format."""
        size = self.films.pack.size
        return [
            {
                "im_file": name, "shape": (size, size), "cls": np.zeros((len(boxes), 1), np.float32), "bboxes": boxes,
                "segments": [], "keypoints": None, "normalized": True, "bbox_format": "xywh",
            }
            for name, boxes in zip(self.films.index["image"], self.films.boxes, strict=True)
        ]  # fmt: skip

    def build_transforms(self, hyp: Any) -> Compose:
        """Build the augmentations that experiments can set; ultralytics' list would import all of albumentations."""
        size = self.imgsz
        spread = RandomPerspective(hyp.degrees, hyp.translate, hyp.scale, hyp.shear, size=(size, size))
        mosaic = Compose([Mosaic(self, imgsz=size, p=hyp.mosaic), spread])
        mixup = MixUp(self, pre_transform=mosaic, p=hyp.mixup)
        flip = RandomFlip(p=hyp.fliplr, direction="horizontal")
        return Compose([mosaic, mixup, flip, Format(bbox_format="xywh", normalize=True, bgr=0.0)])

    def load_image(
        self, i: int, rect_mode: bool = True, resize_short: bool = False
    ) -> tuple[NDArray[np.uint8], tuple[int, int], tuple[int, int]]:
        """Return a writable (S, S, 1) copy of a film and its size before and after resizing; the two are equal."""
        image = np.array(self.films.pack[int(self.films.rows[i])])[..., None]
        return image, image.shape[:2], image.shape[:2]

    def __getitem__(self, index: int) -> dict[str, Any]:
        with seeded(self.seed, self.epoch, index):
            sample: dict[str, Any] = super().__getitem__(index)
            factor = 1 + self.brightness * random.uniform(-1, 1)  # noqa: S311 - augmentation, not cryptography
        # ultralytics' own brightness jitter (hsv_v) only affects images with three channels.
        sample["img"] = (sample["img"].float() * factor).clamp_(0, 255).to(torch.uint8)
        return sample


class EpochOrder(Sampler[int]):
    """A permutation of the films, determined by seed and epoch alone."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self.epoch = count, seed, 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        yield from np.random.default_rng([self.seed, self.epoch]).permutation(self.count).tolist()


class PackedLoader(DataLoader[dict[str, Any]]):
    """A plain ``DataLoader`` with the two methods that ultralytics' trainer calls on its own infinite loader."""

    def __init__(self, dataset: PackedDataset, batch: int, workers: int, pin: bool) -> None:
        super().__init__(
            dataset, batch, sampler=EpochOrder(len(dataset), dataset.seed), collate_fn=dataset.collate_fn,
            num_workers=workers, pin_memory=pin, worker_init_fn=_single_thread,
        )  # fmt: skip

    def start(self, epoch: int) -> None:
        """Set the epoch that determines the next pass's order and augmentation; workers fork after this call."""
        assert isinstance(self.sampler, EpochOrder)
        assert isinstance(self.dataset, PackedDataset)
        self.sampler.epoch = self.dataset.epoch = epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """Start workers only at the first batch: the trainer creates two iterators per epoch and uses one of them."""
        yield from super().__iter__()

    def reset(self) -> None:
        """Do nothing: each new pass reads the dataset's current state."""

    def close(self) -> None:
        """Do nothing: workers end with their pass."""


@contextmanager
def seeded(*entropy: int) -> Iterator[None]:
    """Seed Python's and NumPy's global generators inside the block and restore both states afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    words = np.random.SeedSequence(entropy).generate_state(2)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _single_thread(worker: int) -> None:
    torch.set_num_threads(1)
