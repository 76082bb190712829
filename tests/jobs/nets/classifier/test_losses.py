import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from jobs.contract.experiment import Aux, Classifier
from jobs.nets.classifier.losses import balanced_weights, class_losses, mask_losses, training_loss
from jobs.nets.classifier.mixing import Mixed
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


WEIGHTS = torch.tensor([1.0, 2.0, 3.0, 4.0])


def test_a_sigmoid_asks_every_class_on_its_own():
    given, model = logits(4), Classifier(loss="sigmoid")
    expected = F.binary_cross_entropy_with_logits(given, F.one_hot(STUDY, 4).float(), reduction="none").mean(1)
    torch.testing.assert_close(class_losses(model, given, STUDY, FILM, ALL), expected)
    smooth = class_losses(model.model_copy(update={"label_smoothing": 0.2}), given, STUDY, FILM, ALL)
    target = F.one_hot(STUDY, 4) * 0.8 + 0.05
    torch.testing.assert_close(smooth, F.binary_cross_entropy_with_logits(given, target, reduction="none").mean(1))


@pytest.mark.parametrize("exponent", [0.5, 2.0])
def test_the_focal_loss_is_that_of_its_paper(exponent: float):
    given = logits(4)
    softmax = class_losses(Classifier(focal=exponent), given, STUDY, FILM, ALL)
    right = given.softmax(1)[range(3), STUDY]
    torch.testing.assert_close(softmax, -((1 - right) ** exponent) * right.log())
    sigmoid = class_losses(Classifier(loss="sigmoid", focal=exponent), given, STUDY, FILM, ALL)
    wanted = F.one_hot(STUDY, 4).float()
    torch.testing.assert_close(sigmoid, sigmoid_focal_loss(given, wanted, alpha=-1, gamma=exponent).mean(1))


@pytest.mark.parametrize("loss", ["cross_entropy", "sigmoid"])
def test_a_focal_exponent_below_one_has_a_slope_where_the_answer_is_certain(loss: str):
    certain = torch.tensor([[200.0, -200.0, -200.0, -200.0]], requires_grad=True)
    class_losses(Classifier(loss=loss, focal=0.5), certain, STUDY[:1], FILM[:1], ALL[:1]).sum().backward()  # type: ignore[arg-type]
    assert certain.grad is not None
    assert certain.grad.isfinite().all()


def test_class_weights_multiply_the_loss_of_their_class():
    given = logits(4)
    plain, weighted = (class_losses(Classifier(), given, STUDY, FILM, ALL, weights) for weights in (None, WEIGHTS))
    torch.testing.assert_close(weighted, plain * WEIGHTS[STUDY])
    one_by_one = class_losses(Classifier(loss="sigmoid"), given, STUDY, FILM, ALL, WEIGHTS)
    each = F.binary_cross_entropy_with_logits(given, F.one_hot(STUDY, 4).float(), reduction="none")
    torch.testing.assert_close(one_by_one, (each * WEIGHTS).mean(1))


def test_a_joint_head_weighs_study_and_film_by_their_own_classes():
    given, weights = logits(6), torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    found = class_losses(Classifier(head="joint6"), given, STUDY, FILM, ALL, weights)
    terms = [F.cross_entropy(given, target, reduction="none") * weights[target] for target in (STUDY, FILM + 4)]
    torch.testing.assert_close(found, (terms[0] + terms[1]) / 2)
    film = class_losses(Classifier(head="joint6", loss_on="film", loss="sigmoid"), given, STUDY, FILM, ALL, weights)
    each = F.binary_cross_entropy_with_logits(given[:, 4:], F.one_hot(FILM, 2).float(), reduction="none")
    torch.testing.assert_close(film, (each * weights[4:]).mean(1))


def test_balanced_weights_are_inverse_to_the_films_of_a_class_and_one_on_average():
    study, film = np.array([0, 0, 0, 1, 1, 3]), np.array([0, 0, 0, 1, 1, 1])
    counted = np.array([True, True, True, True, False, False])
    found = balanced_weights(Classifier(head="joint6", class_weights="balanced"), study, film, counted)
    assert found is not None
    assert found == pytest.approx([6 / 9, 1, 1, 2, 4 / 6, 2])  # no film is of class 2
    assert found[study].mean() == pytest.approx(1)
    given = balanced_weights(Classifier(class_weights={"typical": 2.5}), study, film, counted)
    assert given is not None
    assert given.tolist() == [1, 2.5, 1, 1]
    assert balanced_weights(Classifier(), study, film, counted) is None


@pytest.mark.parametrize("loss", ["cross_entropy", "sigmoid"])
def test_a_mixed_films_loss_is_its_films_losses_by_their_shares(loss: str):
    model, partner, share = Classifier(loss=loss, aux=None), torch.tensor([1, 2, 0]), torch.tensor([0.9, 0.5, 0.2])  # type: ignore[arg-type]
    answer = Answer(logits(4), None)
    found = training_loss(model, answer, STUDY, FILM, ALL, None, None, Mixed(partner, share))
    own, theirs = (class_losses(model, answer.logits, study, FILM, ALL) for study in (STUDY, STUDY[partner]))
    torch.testing.assert_close(found, (share * own + (1 - share) * theirs).mean())


def test_of_a_mixed_film_only_the_part_counts_that_does_and_its_mask_only_if_both_do():
    model, partner, share = Classifier(head="film2", aux=Aux()), torch.tensor([1, 0, 2]), torch.tensor([0.75, 0.5, 0.5])
    counted = torch.tensor([1.0, 0.0, 1.0])
    masks, mask = torch.rand(3, 1, 2, 2) * 255, torch.randn(3, 1, 2, 2)
    answer = Answer(logits(2), mask)
    found = training_loss(model, answer, STUDY, FILM, counted, masks, None, Mixed(partner, share))
    each = F.cross_entropy(answer.logits, FILM, reduction="none")
    theirs = F.cross_entropy(answer.logits, FILM[partner], reduction="none")
    classes = share * counted * each + (1 - share) * counted[partner] * theirs
    of_mask = torch.tensor([0.0, 0.0, 1.0]) * mask_losses(mask, masks / 255, "bce")
    torch.testing.assert_close(found, (classes + of_mask).mean())


@pytest.mark.parametrize("head", ["study4", "joint6", "film2"])
def test_probabilities_weigh_the_losses_of_the_classes(head: str):
    model = Classifier(head=head, label_smoothing=0.1)
    logits = torch.randn(3, len(model.classes), generator=torch.Generator().manual_seed(1))
    film, counted = torch.tensor([0, 1, 1]), torch.tensor([1.0, 0.0, 1.0])
    hard = torch.tensor([2, 0, 3])
    sure = torch.nn.functional.one_hot(hard, 4).float()
    torch.testing.assert_close(
        class_losses(model, logits, sure, film, counted), class_losses(model, logits, hard, film, counted)
    )
    mixed = (sure + sure[[1, 2, 0]]) / 2
    both = [class_losses(model, logits, one, film, counted) for one in (hard, hard[[1, 2, 0]])]
    torch.testing.assert_close(class_losses(model, logits, mixed, film, counted), (both[0] + both[1]) / 2)
