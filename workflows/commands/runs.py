"""The command ``runs``."""

from dataclasses import asdict

import typer

from workflows.commands._options import AsJson, ClusterProfile, profile_of
from workflows.commands._output import print_columns, print_json


def runs(profile: ClusterProfile = None, as_json: AsJson = False) -> None:
    """List running and finished runs with their scores."""
    from workflows.runs.finding.listing import listing

    listed, note = listing(profile_of(profile))
    if note:
        typer.echo(note, err=True)
    if as_json:
        print_json([asdict(run) for run in listed])
        return
    head = ("run", "title", "state", "done", "figure", "score", "changed (UTC)")
    print_columns(head, [run.cells() for run in listed])
