"""The page of GPU memory and hours has a row for each model of each recipe."""

import re
from pathlib import Path

import pytest

from jobs.contract.experiment import Classifier, Model
from workflows.settings.files import list_recipes

PAGE = (Path(__file__).parents[2] / "images/sizing.md").read_text()
RECIPES = {recipe.name: recipe for recipe in list_recipes() if recipe.name != "demo"}


def epochs(model: Model) -> int:
    if isinstance(model, Classifier):
        return sum(stage.epochs for stage in model.stages)
    return model.evolve.epochs if model.evolve else model.epochs


@pytest.mark.parametrize("name", RECIPES)
def test_every_model_of_a_recipe_has_a_row_of_its_batch_and_epochs(name: str):
    cells = [[cell.strip() for cell in line.split("|")] for line in PAGE.splitlines() if f"`{name}`" in line]
    rows = {(int(row[3]), int(row[6])) for row in cells if len(row) > 7 and re.fullmatch(r"\d+", row[3])}
    assert {(model.batch, epochs(model)) for model in RECIPES[name].models.values()} == rows
