"""The command ``explain``."""

from dataclasses import asdict

import typer

from workflows.commands._options import AsJson, ClusterProfile, OfFold, OfModel, OfStage, OneRun, profile_of
from workflows.commands._output import print_json


def explain(
    run: OneRun = None, stage: OfStage = None, model: OfModel = None, fold: OfFold = None,
    profile: ClusterProfile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Explain the state of tasks and what to do next: of the picked ones, else of all that need attention."""
    from workflows.runs import explanation
    from workflows.runs.logs import Pick
    from workflows.runs.run import find_run

    with find_run(run, profile_of(profile)) as found:
        explanations = explanation.explain(found, Pick(stage, model, fold))
    if as_json:
        print_json([asdict(one) for one in explanations])
        return
    for one in explanations:
        typer.echo("\n".join(one.text()) + "\n")
    if not explanations:
        typer.echo(f"No task of run {found.name} is in trouble.")
