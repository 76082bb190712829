"""The command ``explain``."""

from dataclasses import asdict

import typer

from workflows.commands._options import AsJson, ClusterProfile, OfFold, OfModel, OfStage, OneRun, profile_of
from workflows.commands._output import print_json


def explain(
    name: OneRun = None, stage: OfStage = None, model: OfModel = None, fold: OfFold = None,
    profile: ClusterProfile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Explain why tasks failed, stopped or wait, and what to do next. Options select other tasks."""
    from workflows.runs import explanation
    from workflows.runs.finding.find import find_run
    from workflows.runs.logs.reading import TaskFilter

    with find_run(name, profile_of(profile)) as run:
        explanations = explanation.explain(run, TaskFilter(stage, model, fold))
        notes = run.notes
    if as_json:
        print_json([asdict(item) for item in explanations])
        return
    for note in notes:
        typer.echo(note, err=True)
    for item in explanation.failed_alike_once(explanations):
        typer.echo("\n".join(item.text()) + "\n")
    if not explanations:
        typer.echo(f"No task of run {run.name} failed, was stopped, waits in a queue or is tried again.")
