"""The command ``purge``."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from jobs.contract.exits import BadInput
from workflows.commands._options import AsJson, ClusterProfile, OfRun, profile_of
from workflows.commands._output import print_json


def purge(
    name: OfRun, profile: ClusterProfile = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
    films: Annotated[bool, typer.Option("--films", help="also remove uploaded films that no other run uses")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Remove a run after confirmation: workflows, results, metrics, and work that no other run uses."""
    from workflows.local.execute import running_here
    from workflows.runs import purge as purging
    from workflows.runs.finding.find import find_run

    with find_run(name, profile_of(profile)) as run:
        if running_here(run.name):
            raise BadInput(f"Run {run.name} is running here: stop it first, with Ctrl-C where it runs.")
        plan = purging.plan_purge(run)
        for line in plan.lines():
            typer.echo(line, err=True)
        if not yes and not sys.stdin.isatty():
            raise BadInput("Nothing was removed: standard input is no terminal to ask for confirmation. Give --yes.")
        if not yes:
            typer.confirm("Remove it?", abort=True, err=True)
        purging.purge(run, plan, films=films)
    typer.echo("Removed.", err=True)
    if as_json:
        print_json(asdict(plan))
