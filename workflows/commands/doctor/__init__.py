"""The command ``doctor``."""

from dataclasses import asdict

import typer

from jobs.contract.exits import BadInput
from workflows.commands._options import AsJson, ClusterProfile, Revision, profile_or_default
from workflows.commands._output import print_json


def doctor(profile: ClusterProfile = None, revision: Revision = None, as_json: AsJson = False) -> None:
    """Check that a cluster can run the pipeline, and print a remedy for each problem."""
    from jobs.runtime.provenance import revision as this_revision
    from workflows.cluster.client import Cluster
    from workflows.commands.doctor.examine import examine, images_of

    chosen = profile_or_default(profile)
    points = examine(Cluster.connect(chosen), chosen, images_of(chosen, revision or this_revision()))
    if as_json:
        print_json([asdict(point) for point in points])
    else:
        for point in points:
            typer.echo(point.line())
    if any(point.state == "bad" for point in points):
        raise typer.Exit(BadInput.exit)
