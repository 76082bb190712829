"""What winners trained with, as experiments: each changes one thing, and the page names each."""

import pytest

from workflows.settings.recipes import EXPERIMENTS
from workflows.study.selection import Changes, select

WINNERS = {one.experiment.name: one.experiment for one in select("winners/*", Changes())}
CHANGES = {
    "class-weights": ("plain", {"class_weights"}),
    "focal": ("plain", {"focal"}),
    "sigmoid": ("plain", {"loss"}),
    "mixup": ("plain", {"mixup"}),
    "cutmix": ("plain", {"cutmix"}),
    "strong": ("plain", {"augment"}),
    "ema": ("plain", {"ema"}),
    "ema-warm": ("ema", {"ema_warmup"}),
    "flips": ("plain", {"inference"}),
}


def test_every_experiment_has_what_it_is_compared_with():
    assert set(WINNERS) == {"plain", *CHANGES}


@pytest.mark.parametrize("name", CHANGES)
def test_an_experiment_changes_one_thing(name: str):
    parent, fields = CHANGES[name]
    child, above = WINNERS[name].classifiers["tiny"], WINNERS[parent].classifiers["tiny"]
    assert {field for field, value in child if value != getattr(above, field)} == fields
    assert (WINNERS[name].data, WINNERS[name].folds) == (WINNERS[parent].data, WINNERS[parent].folds)


def test_the_page_names_each():
    page = (EXPERIMENTS / "README.md").read_text(encoding="utf-8")
    assert [name for name in WINNERS if f"`winners/{name}`" not in page] == []
