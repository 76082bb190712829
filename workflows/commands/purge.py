"""The command ``purge``."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from jobs.contract.exits import BadInput
from workflows.commands._options import AsJson, ClusterProfile, OfRun, profile_of
from workflows.commands._output import print_json


def purge(
    run: OfRun, profile: ClusterProfile = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Remove a run, after asking: workflows, results, pushed metrics, and work that no other run refers to."""
    from workflows.runs import purge as purging
    from workflows.runs.run import find_run

    with find_run(run, profile_of(profile)) as found:
        leftovers = purging.leftovers(found)
        for line in leftovers.lines():
            typer.echo(line, err=True)
        if not yes and not sys.stdin.isatty():
            raise BadInput("Nothing was removed: there is nobody to ask. --yes removes it.")
        if not yes:
            typer.confirm("Remove it?", abort=True, err=True)
        purging.purge(found, leftovers)
    typer.echo("Removed.", err=True)
    if as_json:
        print_json(asdict(leftovers))
