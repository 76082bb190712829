"""The classifier's losses. Every loss is a mean over the films of a batch.

A masked film adds 0 to the sum but stays in the denominator, so k accumulated small batches equal one large batch.
"""

from typing import Literal, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from jobs.contract.experiment import Classifier
from jobs.contract.names import FILM_CLASSES, STUDY_CLASSES
from jobs.nets.classifier.mixing import Mixed
from jobs.nets.classifier.net import Answer

STUDY = len(STUDY_CLASSES)
LEAST = 1e-6  # of 1 - p under a focal exponent below 1, whose slope is infinite at 0


def training_loss(
    model: Classifier,
    answer: Answer,
    study: torch.Tensor,
    film: torch.Tensor,
    counted: torch.Tensor,
    masks: torch.Tensor | None,
    weights: torch.Tensor | None = None,
    mixed: Mixed | None = None,
) -> torch.Tensor:
    """Compute the loss of a batch, a scalar.

    The class loss of a mixed film is the mean of its two films' losses, weighted by their shares (Zhang et al. 2018).
    Its mask is mixed like its pixels, and counts if both films' masks do.

    Args:
        model: its head, losses and their weights.
        answer: output of the net for B films.
        study: (B,) index into STUDY_CLASSES, or (B, 4) probabilities.
        film: (B,) index into FILM_CLASSES.
        counted: (B,) 0 where film-level and mask losses skip the film, else 1.
        masks: (B, 1, cells, cells) uint8, or float if mixed; None without an auxiliary head.
        weights: (classes,) of the head's classes; None for 1.
        mixed: the films that were mixed into these; None if the batch is as it was read.
    """
    loss = class_losses(model, answer.logits, study, film, counted, weights)
    if mixed:
        other = mixed.partner
        theirs = class_losses(model, answer.logits, study[other], film[other], counted[other], weights)
        loss = mixed.share * loss + (1 - mixed.share) * theirs
        counted = counted * counted[other]
    if model.aux and answer.mask is not None and masks is not None:
        loss = loss + model.aux.weight * counted * mask_losses(answer.mask, masks.float() / 255, model.aux.loss)
    return loss.mean()


def balanced_weights(
    model: Classifier, study: NDArray[np.int64], film: NDArray[np.int64], counted: NDArray[np.bool_]
) -> NDArray[np.float32] | None:
    """Return the weights (classes,) of the head's classes by ``class_weights``, from the labels of the training films.

    ``balanced`` is scikit-learn's n / (k n_c), for the study's and the film's classes separately, so the mean over
    films is 1. A class that no film has keeps 1, and so does one that is not given.
    """
    if model.class_weights is None:
        return None
    if isinstance(model.class_weights, dict):
        return np.array([model.class_weights.get(name, 1.0) for name in model.classes], np.float32)
    parts = []
    if STUDY_CLASSES[0] in model.classes:
        parts.append(_balanced(np.bincount(study, minlength=STUDY)))
    if FILM_CLASSES[0] in model.classes:
        parts.append(_balanced(np.bincount(film[counted], minlength=len(FILM_CLASSES))))
    return np.concatenate(parts)


def _balanced(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    found = counts > 0
    return np.where(found, counts.sum() / (max(found.sum(), 1) * np.maximum(counts, 1)), 1).astype(np.float32)


def class_losses(
    model: Classifier,
    logits: torch.Tensor,
    study: torch.Tensor,
    film: torch.Tensor,
    counted: torch.Tensor,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Compute the class loss of each film (B,) for the model's head.

    The joint head's loss is the mean of the study's and the film's cross-entropy, over all six outputs. A film with
    ``counted`` 0 has half the study's cross-entropy over the four study outputs. With ``loss_on: film`` only the film's
    term remains. ``loss: sigmoid`` asks each output on its own, so there the study's term is over its four outputs and
    the film's over its two. Where ``study`` holds probabilities, the loss is the mean over the classes, weighted by
    them.
    """
    if study.is_floating_point():
        classes = [torch.full_like(film, number) for number in range(STUDY)]
        each = [class_losses(model, logits, one, film, counted, weights) for one in classes]
        return (torch.stack(each, 1) * study).sum(1)

    def loss(target: torch.Tensor, first: int = 0, last: int | None = None) -> torch.Tensor:
        """Of the outputs from ``first`` to ``last``, where the target's class is counted from ``first``."""
        part = None if weights is None else weights[first:last]
        return target_losses(model, logits[:, first:last], target, part)

    match model.head, model.loss_on:
        case "study4", _:
            return loss(study)
        case "film2", _:
            return counted * loss(film)
        case "joint6", "film":
            return counted * (loss(film, STUDY) if model.loss == "sigmoid" else loss(film + STUDY))
        case "joint6", "all":
            if model.loss == "sigmoid":
                return (loss(study, 0, STUDY) + counted * loss(film, STUDY)) / 2
            both = loss(study) + loss(film + STUDY)
            return (counted * both + (1 - counted) * loss(study, 0, STUDY)) / 2
        case _:
            raise AssertionError(f"no loss for head {model.head} with loss_on {model.loss_on}")


def target_losses(
    model: Classifier, logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None
) -> torch.Tensor:
    """Compute the loss of each film (B,) for one question: the class ``target`` among the columns of ``logits``.

    The focal loss (Lin et al. 2017) multiplies a cross-entropy by ``(1 - p) ** focal``, where p is the probability of
    the right answer: of the class in a softmax, of yes or no for each class of a sigmoid. The loss over classes with
    a sigmoid is their mean. Weights are of the target's class; those of a sigmoid of each class's own output.
    """
    match model.loss:
        case "cross_entropy":
            smooth = model.label_smoothing
            loss = F.cross_entropy(logits, target, weight=weights, label_smoothing=smooth, reduction="none")
            if model.focal:
                right = logits.softmax(1).gather(1, target[:, None])[:, 0]
                loss = loss * (1 - right).clamp_min(LEAST) ** model.focal
            return loss
        case "sigmoid":
            classes = logits.shape[1]
            wanted = F.one_hot(target, classes).to(logits.dtype)
            wanted = wanted * (1 - model.label_smoothing) + model.label_smoothing / classes
            each = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
            if model.focal:
                chance = logits.sigmoid()
                right = chance * wanted + (1 - chance) * (1 - wanted)
                each = each * (1 - right).clamp_min(LEAST) ** model.focal
            return (each if weights is None else each * weights).mean(1)
        case _:
            assert_never(model.loss)


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
