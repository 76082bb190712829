"""The classifier's losses. Every loss is a mean over the films of a batch.

A masked film adds 0 to the sum but stays in the denominator, so k accumulated small batches equal one large batch.
"""

from typing import Literal, assert_never

import torch
from torch.nn import functional as F

from jobs.contract.experiment import Classifier
from jobs.contract.names import STUDY_CLASSES
from jobs.nets.classifier.net import Answer

STUDY = len(STUDY_CLASSES)


def training_loss(
    model: Classifier,
    answer: Answer,
    study: torch.Tensor,
    film: torch.Tensor,
    counted: torch.Tensor,
    masks: torch.Tensor | None,
) -> torch.Tensor:
    """Compute the loss of a batch, a scalar.

    Args:
        model: its head, losses and their weights.
        answer: output of the net for B films.
        study: (B,) index into STUDY_CLASSES.
        film: (B,) index into FILM_CLASSES.
        counted: (B,) 0 where film-level and mask losses skip the film, else 1.
        masks: (B, 1, cells, cells) uint8; None without an auxiliary head.
    """
    loss = class_losses(model, answer.logits, study, film, counted)
    if model.aux and answer.mask is not None and masks is not None:
        loss = loss + model.aux.weight * counted * mask_losses(answer.mask, masks.float() / 255, model.aux.loss)
    return loss.mean()


def class_losses(
    model: Classifier, logits: torch.Tensor, study: torch.Tensor, film: torch.Tensor, counted: torch.Tensor
) -> torch.Tensor:
    """Compute the cross-entropy of each film (B,) for the model's head.

    The joint head's loss is the mean of the study's and the film's cross-entropy, over all six outputs. A film with
    ``counted`` 0 has half the study's cross-entropy over the four study outputs. With ``loss_on: film`` only the film's
    term remains.
    """
    smooth = model.label_smoothing
    match model.head, model.loss_on:
        case "study4", _:
            return cross_entropies(logits, study, smooth)
        case "film2", _:
            return counted * cross_entropies(logits, film, smooth)
        case "joint6", "film":
            return counted * cross_entropies(logits, film + STUDY, smooth)
        case "joint6", "all":
            both = cross_entropies(logits, study, smooth) + cross_entropies(logits, film + STUDY, smooth)
            alone = cross_entropies(logits[:, :STUDY], study, smooth)
            return (counted * both + (1 - counted) * alone) / 2
        case _:
            raise AssertionError(f"no loss for head {model.head} with loss_on {model.loss_on}")


def cross_entropies(logits: torch.Tensor, target: torch.Tensor, smooth: float) -> torch.Tensor:
    """Compute the cross-entropy of each film (B,)."""
    return F.cross_entropy(logits, target, label_smoothing=smooth, reduction="none")


def mask_losses(logits: torch.Tensor, target: torch.Tensor, kind: Literal["bce", "dice", "bce+dice"]) -> torch.Tensor:
    """Compute the loss of each film's mask (B,): mean binary cross-entropy over cells, soft Dice, or their sum.

    Dice is ``1 - (2 sum(pt) + 1) / (sum(p) + sum(t) + 1)`` (Milletari et al. 2016); the added 1 smooths
    the ratio, so that an empty mask can reach loss 0.
    """
    match kind:
        case "bce":
            return _bce(logits, target)
        case "dice":
            return _dice(logits, target)
        case "bce+dice":
            return _bce(logits, target) + _dice(logits, target)
        case _:
            assert_never(kind)


def _bce(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((1, 2, 3))


def _dice(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    chance = logits.sigmoid()
    shared, total = (chance * target).sum((1, 2, 3)), (chance + target).sum((1, 2, 3))
    return 1 - (2 * shared + 1) / (total + 1)
