"""What has to be touched for an addition (see CONTRIBUTING.md), where no test of one package holds it."""

import importlib
from pathlib import Path
from typing import get_args

import pytest
import timm
import torch
from torch import nn

from jobs.contract.experiment import Classifier, Detector, Experiment
from jobs.contract.names import Stage
from jobs.contract.plan import plan
from jobs.contract.profile import Profile
from jobs.nets.classifier.optimizers import create_optimizer
from jobs.nets.optimizer_state import optimizer_tensors, restore_optimizer
from jobs.scoring.figures import FIGURES, available_figures
from workflows.settings.files import list_recipes

ROOT = Path(__file__).parents[1]
OPTIMIZERS = get_args(Classifier.model_fields["optimizer"].annotation)
EXPERIMENT = Experiment(name="both", classifiers={"b3": Classifier()}, detectors={"yolo": Detector()})


def test_every_optimiser_of_the_schema_is_created_and_keeps_its_state() -> None:
    kinds = set()
    for name in OPTIMIZERS:
        net = nn.Linear(3, 2)
        optimizer = create_optimizer(Classifier(optimizer=name), net.parameters())
        net(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        state = optimizer_tensors(optimizer)
        other = create_optimizer(Classifier(optimizer=name), nn.Linear(3, 2).parameters())
        restore_optimizer(other, state)
        assert state.keys() == optimizer_tensors(other).keys() != set()
        kinds.add(type(optimizer))
    assert len(kinds) == len(OPTIMIZERS), "two names create the same optimiser"


def test_every_backbone_of_a_recipe_is_known_to_timm() -> None:
    named = {model.backbone for recipe in list_recipes() for model in recipe.classifiers.values()}
    known = set(timm.list_models()) | set(timm.list_pretrained())
    assert named - known == set()


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_has_a_package_tasks_and_resources(stage: Stage) -> None:
    assert callable(importlib.import_module(stage.module).run)
    planned = {task.id.stage for predicts in (False, True) for task in plan(EXPERIMENT, predicts=predicts)}
    assert stage in planned
    assert Profile().resources_of(stage).memory
    assert f"`{stage.module.replace('.', '/')}/`" in (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def test_every_figure_is_given_by_some_models_and_documented() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    film_model = Experiment(name="films", classifiers={"b3": Classifier(head="film2")})
    given = {figure for one in (EXPERIMENT, film_model) for figure in available_figures(one)}
    for figure in FIGURES:
        assert figure in given
        assert f"| `{figure}` |" in readme
