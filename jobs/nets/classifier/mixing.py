"""Mixup and cutmix: a batch of films, each mixed with another of the batch, with their masks.

Everything random is drawn on the host from a generator that follows from the position in the training, so a resumed
training mixes the same films alike, and no draw waits for the device.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.contract.experiment import Classifier
from jobs.films.loader import Batch

Floats = NDArray[np.float64]


class Mixed(NamedTuple):
    """Which films a batch was mixed from.

    Attributes:
        partner: (B,) number in the batch of the film that was mixed in.
        share: (B,) float32, of the film itself in the mixed one; the rest is the partner's.
    """

    partner: torch.Tensor
    share: torch.Tensor


def mix(batch: Batch, model: Classifier, stream: np.random.Generator) -> tuple[Batch, Mixed | None]:
    """Mix a batch as the model's ``mixup``, ``cutmix`` and ``mix_chance`` say; labels are left as they are.

    Mixup blends pixels and masks by a share drawn for each film (Zhang et al. 2018). Cutmix pastes a square of the
    partner at its own place (Yun et al. 2019), with edges on those of the mask's cells; the share is that of the pixels
    left. With both, each batch gets either one with equal chance.

    Args:
        batch: films (B, 1, S, S) uint8 and masks (B, 1, cells, cells) uint8 or None, on any device.
        model: the settings.
        stream: of this batch alone.

    Returns:
        The batch and what was mixed; the batch itself and None if it is not mixed.
    """
    kinds = [kind for kind, alpha in (("mixup", model.mixup), ("cutmix", model.cutmix)) if alpha]
    if not kinds or stream.random() >= model.mix_chance:
        return batch, None
    count, device = len(batch.films), batch.films.device
    partner = stream.permutation(count)
    kind = kinds[int(stream.integers(len(kinds)))]
    if kind == "mixup":
        share = stream.beta(model.mixup, model.mixup, count)
        kept = share.reshape(-1, 1, 1, 1)
    else:
        cells = batch.masks.shape[-1] if batch.masks is not None else batch.films.shape[-1]
        kept = _outside_squares(1 - stream.beta(model.cutmix, model.cutmix, count), cells, stream)[:, None]
        share = kept.mean((1, 2, 3))
    chosen, of_own = torch.from_numpy(partner).to(device), torch.from_numpy(share.astype(np.float32)).to(device)
    own = torch.from_numpy(kept.astype(np.float32)).to(device)
    films = _blend(batch.films, own, chosen)
    masks = None if batch.masks is None else _blend(batch.masks, own, chosen)
    return batch._replace(films=films, masks=masks), Mixed(chosen, of_own)


def _outside_squares(areas: Floats, cells: int, stream: np.random.Generator) -> Floats:
    """Return (B, cells, cells): 0 in a random square of about each area (B,), cut off at the film's edge, else 1."""
    reach = np.sqrt(areas)[:, None] * cells / 2
    middles = np.arange(cells) + 0.5
    rows, columns = (np.abs(middles - stream.random((len(areas), 1)) * cells) < reach for _ in range(2))
    return np.where(rows[:, :, None] & columns[:, None, :], 0.0, 1.0)


def _blend(pixels: torch.Tensor, own: torch.Tensor, partner: torch.Tensor) -> torch.Tensor:
    """Return ``own`` parts (B, 1, 1 or cells, 1 or cells) of the pixels (B, 1, S, S) and the rest of their partners."""
    if own.shape[-1] not in (1, pixels.shape[-1]):
        factor = pixels.shape[-1] // own.shape[-1]
        own = own.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    whole = pixels.float()
    return own * whole + (1 - own) * whole[partner]
