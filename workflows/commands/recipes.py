"""The command ``recipes``."""

from workflows.commands._options import AsJson
from workflows.commands._output import print_columns, print_json


def recipes(as_json: AsJson = False) -> None:
    """List the experiments that ship with the pipeline."""
    from workflows.settings.recipes import recipes as all_recipes

    listed = all_recipes()
    if as_json:
        print_json([recipe.as_json() for recipe in listed])
    else:
        print_columns(("name", "title", "remark"), [(recipe.name, recipe.title, recipe.remark) for recipe in listed])
