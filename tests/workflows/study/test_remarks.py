"""The log's remarks as experiments: what ships, and that each changes the one thing its remark is about."""

import pytest

from jobs.contract.experiment import training_settings
from workflows.settings.recipes import EXPERIMENTS
from workflows.study.selection import Changes, select
from workflows.study.wording import models

REMARKS = {one.experiment.name: one for one in select("remarks/*", Changes())}
OF_RUN = {one.run: one.experiment for one in REMARKS.values()}
CHANGES = {
    "w2-top": {"labels"},
    "w3-mosaic": {"mosaic"},
    "w3-mixup": {"mixup"},
    "w3-both": {"mixup"},
    "w4-thrice": {"fusion"},
    "n1-dropout": {"dropout"},
    "n1-drop-path": {"drop_path"},
    "n2-none-fast": {"stages"},
    "n2-hard-slow": {"augment"},
    "n2-hard-fast": {"stages"},
    "n3-four-times-two": {"batch", "accumulate"},
    "n3-two": {"accumulate"},
    "r3-plain": {"flip", "translate", "scale", "brightness"},
    **{f"noise-{kind}-{seed}": {"seed"} for kind in ("studies", "boxes") for seed in (2, 3)},
}


def test_every_remark_that_can_be_measured_has_its_experiments():
    remarks = {"w2", "w3", "w4", "n1", "n2", "n3", "r2", "r3", "row6", "noise", "yolo6"}
    assert {name.partition("-")[0] for name in REMARKS} == remarks
    assert {name for name, one in REMARKS.items() if one.parent} == set(CHANGES)


@pytest.mark.parametrize("name", CHANGES)
def test_an_experiment_differs_from_its_parent_in_what_the_remark_is_about(name):
    child, parent = REMARKS[name].experiment, OF_RUN[REMARKS[name].parent or ""]
    differing = set()
    for mine, above in zip([*models(child), child.ensemble], [*models(parent), parent.ensemble], strict=True):
        differing |= {field for field, value in mine if value != getattr(above, field)}
    differing |= {"seed"} if child.seed != parent.seed else set()
    assert differing == CHANGES[name]
    assert (child.data, child.folds) == (parent.data, parent.folds)


@pytest.mark.parametrize(
    "alike",
    [
        ("w2-all", "w2-top", "n3-eight", "r2-studies", "noise-studies-1"),
        ("w3-neither", "w4-once", "w4-thrice", "r3-augmented", "noise-boxes-1"),
    ],
)
def test_what_differs_only_after_training_is_trained_once(alike):
    slices = [[training_settings(model) for model in models(REMARKS[name].experiment)] for name in alike]
    assert all(one == slices[0] for one in slices)


def test_the_page_of_experiments_names_every_row_and_every_remark():
    page = (EXPERIMENTS / "README.md").read_text(encoding="utf-8")
    recipes = [file.stem for file in EXPERIMENTS.glob("*.yaml")]
    assert [name for name in recipes if f"`{name}`" not in page] == []
    assert [name for name in REMARKS if f"`{name}`" not in page] == []
