"""The loader at 512 px with flip, affine and brightness, compared with the usual one: PNG files and albumentations.

One process, one thread, CPU time. Both do the same to the same films; ours reads packed grey squares and hands the
device one uint8 channel, the peer decodes files and hands over three normalised float channels, as is usual.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from albumentations.pytorch import ToTensorV2
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from jobs.films.augment import BASIC, Augmentation
from jobs.films.dataset import Pack, shard_name
from jobs.films.loader import Films, Masks, TrainingFilms, batches, epoch_batches

SIZE, COUNT, BATCH = 512, 96, 16


def films(folder: Path) -> tuple[Pack, Films, list[Path]]:
    """Smooth noise, as a pack and as PNG files; two films of three carry two boxes."""
    rng = np.random.default_rng(1)
    squares = [cv2.GaussianBlur(rng.integers(0, 255, (SIZE, SIZE)).astype(np.uint8), (0, 0), 3) for _ in range(COUNT)]
    np.save(folder / shard_name(0), np.stack(squares))
    paths = [folder / f"{number}.png" for number in range(COUNT)]
    for path, square in zip(paths, squares, strict=True):
        cv2.imwrite(str(path), square)
    zeros = np.zeros(COUNT, np.int64)
    lungs = np.array([[60.0, 90.0, 220.0, 400.0], [290.0, 110.0, 450.0, 380.0]])
    boxes = tuple(lungs if number % 3 else lungs[:0] for number in range(COUNT))
    labels = Films(np.arange(COUNT), zeros, zeros, zeros == 0, zeros, boxes)
    return Pack(SIZE, [folder / shard_name(0)]), labels, paths


class Files(Dataset[torch.Tensor]):
    """The peer's films."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.steps = A.Compose([*BASIC, A.Normalize(), ToTensorV2()])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> torch.Tensor:
        image: NDArray[np.uint8] = cv2.cvtColor(cv2.imread(str(self.paths[number])), cv2.COLOR_BGR2RGB)
        return self.steps(image=image)["image"]


def speed(loader: Iterable[Any]) -> float:
    """Films a second of CPU time, the best of five epochs."""
    best = 0.0
    for _ in range(5):
        begun = time.process_time()
        for _batch in loader:
            pass
        best = max(best, COUNT / (time.process_time() - begun))
    return best


def main() -> None:
    """Print films a second and the ratio."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        pack, labels, paths = films(Path(folder))
        order = epoch_batches(COUNT, BATCH, 1, seed=1, epoch=0)
        augmentation = Augmentation("basic", 1, 64)
        plain = speed(batches(TrainingFilms(labels, pack, None, augmentation, 0), order, workers=0, pin=False))
        masks = Masks(SIZE // 16, "soft")
        masked = speed(batches(TrainingFilms(labels, pack, masks, augmentation, 0), order, workers=0, pin=False))
        peer = speed(DataLoader(Files(paths), batch_size=BATCH))
    print("films a second on one core")
    print(f"packed                   {plain:6.0f}   {plain / peer:.1f} x the peer (at least 400 a second wanted)")
    print(f"packed, with soft masks  {masked:6.0f}   {masked / peer:.1f} x the peer, which has no masks")
    print(f"PNG and albumentations   {peer:6.0f}")


if __name__ == "__main__":
    main()
