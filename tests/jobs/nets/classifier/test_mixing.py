from typing import Any

import numpy as np
import pytest
import torch

from jobs.contract.experiment import Classifier
from jobs.films.loader import Batch
from jobs.nets.classifier.mixing import mix


def batch(films: int = 16, size: int = 64, cells: int | None = 8) -> Batch:
    """Films of one grey each, ten apart, with masks that are as grey."""
    grey = torch.arange(films, dtype=torch.uint8).reshape(-1, 1, 1, 1) * 10
    masks = None if cells is None else grey.expand(films, 1, cells, cells).clone()
    labels = torch.arange(films)
    return Batch(grey.expand(films, 1, size, size).clone(), labels % 4, labels % 2, torch.ones(films), masks)


def mixed(seed: int = 1, given: Batch | None = None, **settings: Any):
    return mix(given or batch(), Classifier(**settings), np.random.default_rng(seed))


def test_nothing_is_mixed_unless_asked_for():
    given = batch()
    found, how = mixed(given=given)
    assert found is given
    assert how is None


def test_mixup_blends_pixels_and_masks_by_each_films_share():
    given = batch()
    found, how = mixed(given=given, mixup=0.4)
    assert how is not None
    assert len(set(how.share.tolist())) == 16
    share = how.share.reshape(-1, 1, 1, 1)
    for name in ("films", "masks"):
        before, after = getattr(given, name).float(), getattr(found, name)
        torch.testing.assert_close(after, share * before + (1 - share) * before[how.partner])
    assert found.study is given.study


@pytest.mark.parametrize("cells", [8, None])
def test_cutmix_pastes_a_square_whose_area_is_the_partners_share(cells: int | None):
    given = batch(cells=cells)
    found, how = mixed(given=given, cutmix=1.0)
    assert how is not None
    for number, (film, before) in enumerate(zip(found.films, given.films, strict=True)):
        theirs = given.films[how.partner[number]].float()
        pasted = film != before.float()
        assert (film[pasted] == theirs[pasted]).all()
        if int(how.partner[number]) != number:
            assert 1 - pasted.float().mean().item() == pytest.approx(how.share[number].item())
        rows, columns = pasted[0].any(1).nonzero(), pasted[0].any(0).nonzero()
        assert pasted.sum() == len(rows) * len(columns)  # a rectangle, where the film's edge cuts the square


def test_the_mask_is_cut_where_the_film_is():
    found, how = mixed(cutmix=1.0)
    assert how is not None
    assert found.masks is not None
    assert torch.equal(found.films[:, :, ::8, ::8], found.masks)
    assert torch.equal(found.films, found.masks.repeat_interleave(8, 2).repeat_interleave(8, 3))


def test_the_shares_are_beta_distributed():
    shares = torch.cat([how.share for how in (mixed(seed, mixup=0.4)[1] for seed in range(300)) if how]).numpy()
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.01)  # of Beta(a, a)


@pytest.mark.slow
def test_a_square_is_cut_off_at_the_edge_and_its_share_is_what_is_left():
    shares = torch.cat([how.share for how in (mixed(seed, cutmix=1.0)[1] for seed in range(300)) if how]).numpy()
    assert 0.6 < shares.mean() < 0.8  # uniform areas would leave half; the edge cuts some off


@pytest.mark.slow
def test_each_batch_gets_one_of_both_and_some_none():
    def kind(seed: int) -> str:
        found, how = mixed(seed, mixup=0.4, cutmix=1.0, mix_chance=0.5)
        if how is None:
            return "none"
        return "cutmix" if found.films.flatten(1).unique(dim=1).shape[1] > 1 else "mixup"

    kinds = [kind(seed) for seed in range(200)]
    assert [kinds.count(name) / 200 for name in ("none", "mixup", "cutmix")] == pytest.approx(
        [0.5, 0.25, 0.25], abs=0.1
    )


def test_what_is_mixed_follows_from_the_stream_alone():
    one, other = mixed(3, mixup=0.4, cutmix=1.0), mixed(3, mixup=0.4, cutmix=1.0)
    assert torch.equal(one[0].films, other[0].films)
    assert not torch.equal(one[0].films, mixed(4, mixup=0.4, cutmix=1.0)[0].films)
