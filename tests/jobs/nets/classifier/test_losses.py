import math

import pytest
import torch
from torch.nn import functional as F

from jobs.contract.experiment import Aux, Classifier
from jobs.nets.classifier.losses import class_losses, mask_losses, training_loss
from jobs.nets.classifier.net import Answer

STUDY, FILM = torch.tensor([0, 2, 1]), torch.tensor([0, 1, 0])
ALL = torch.ones(3)


def logits(classes: int) -> torch.Tensor:
    return torch.randn(3, classes, generator=torch.Generator().manual_seed(1)).requires_grad_()


def test_four_classes_are_plain_cross_entropy_of_the_study():
    given = logits(4)
    expected = F.cross_entropy(given, STUDY, reduction="none")
    torch.testing.assert_close(class_losses(Classifier(head="study4"), given, STUDY, FILM, ALL), expected)


def test_the_joint_head_asks_half_for_the_study_and_half_for_the_film():
    given = logits(6)
    target = torch.zeros(3, 6)
    target[range(3), STUDY] += 0.5
    target[range(3), FILM + 4] += 0.5
    expected = -(target * given.log_softmax(1)).sum(1)
    torch.testing.assert_close(class_losses(Classifier(head="joint6"), given, STUDY, FILM, ALL), expected)


def test_smoothing_moves_target_to_all_classes_of_the_joint_head():
    given = logits(6)
    model = Classifier(head="joint6", label_smoothing=0.3)
    target = torch.full((3, 6), 0.05)
    target[range(3), STUDY] += 0.35
    target[range(3), FILM + 4] += 0.35
    expected = -(target * given.log_softmax(1)).sum(1)
    torch.testing.assert_close(class_losses(model, given, STUDY, FILM, ALL), expected)


def test_the_loss_on_films_alone_does_not_depend_on_the_study():
    given, model = logits(6), Classifier(head="joint6", loss_on="film")
    one, other = (class_losses(model, given, study, FILM, ALL) for study in (STUDY, STUDY.flip(0)))
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(one, F.cross_entropy(given, FILM + 4, reduction="none"))


@pytest.mark.parametrize("head", ["film2", "joint6"])
def test_a_film_that_does_not_count_moves_no_film_output(head: str):
    model = Classifier(head=head)  # type: ignore[arg-type]
    given = logits(len(model.classes))
    class_losses(model, given, STUDY, FILM, torch.tensor([1.0, 0.0, 1.0])).sum().backward()
    assert given.grad is not None
    assert (given.grad[1, -2:] == 0).all()
    assert (given.grad[0, -2:] != 0).all()
    assert (given.grad[1, :-2] != 0).all()  # of a joint head: its study still counts


def test_mask_losses_are_what_they_are_called():
    certain = torch.tensor([[30.0, 30.0, -30.0, -30.0]]).reshape(1, 1, 2, 2)
    half = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).reshape(1, 1, 2, 2)
    assert mask_losses(certain, half, "dice").item() == pytest.approx(1 - (2 * 1 + 1) / (2 + 1 + 1))
    assert mask_losses(certain, half, "bce").item() == pytest.approx(30 / 4)
    assert mask_losses(certain, half, "bce+dice").item() == pytest.approx(30 / 4 + 0.25)
    assert mask_losses(-certain.abs(), half * 0, "dice").item() == pytest.approx(0, abs=1e-6)


def test_the_mask_loss_is_weighted_and_leaves_out_what_does_not_count():
    model = Classifier(aux=Aux(weight=3.0, loss="bce"))
    masks, shown = torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.zeros(3, 1, 2, 2)
    counted = torch.tensor([1.0, 0.0, 1.0])
    answer = Answer(logits(4), shown)
    alone = class_losses(model, answer.logits, STUDY, FILM, counted).mean()
    whole = training_loss(model, answer, STUDY, FILM, counted, masks)
    assert (whole - alone).item() == pytest.approx(3 * math.log(2) * 2 / 3, rel=1e-5)
